-- records.lua

-- The record of a nonce that is just issued. `uses` is empty for one use that the first attempt spends.
local function issued(epoch, owner, uses, grant)
  if uses == '' then return value_of('I', epoch, owner, grant) end
  return value_of('M', epoch, owner, uses .. ',0,:' .. grant)
end

-- Lets a set of counts live until all in it has ended. One that was there before has a time, which is only put off:
-- what changes nothing is not written to the file.
local function keep(key, entries_before, ends)
  if entries_before == 0 then
    redis.call('EXPIREAT', key, ends)
  else
    redis.call('EXPIREAT', key, ends, 'GT')
  end
end
