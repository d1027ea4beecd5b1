-- This server's time: Unix seconds, and microseconds.
local function clock()
  local time = redis.call('TIME')
  return tonumber(time[1]), time[1] * 1000000 + time[2]
end
