-- records.lua

-- The record of a nonce that is just issued. `uses` is empty for one use that the first attempt spends.
local function issued(epoch, owner, uses, grant)
  if uses == '' then return value_of('I', epoch, owner, grant) end
  return value_of('M', epoch, owner, uses .. ',0,:' .. grant)
end
