-- Whether any of a call's records is there. As a rule none is, and one look tells. Where EXISTS is not allowed, each has
-- to be looked at.
local function is_any_there()
  for first = 2, #KEYS, 1000 do  -- unpack takes less than 8,000
    if redis.pcall('EXISTS', unpack(KEYS, first, math.min(first + 999, #KEYS))) ~= 0 then return true end
  end
  return false
end
