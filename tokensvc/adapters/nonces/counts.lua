-- quotas.lua

local function issued_on(day, day_key)
  local of, count = string.match(redis.call('GET', day_key) or '', '^(%d+):(%d+)$')
  return tonumber(of) == day and tonumber(count) or 0
end

-- A rate's window has an entry for each call that counted, by its time in microseconds: "<how many with it>:<how many
-- of it>". So the difference of two is what was counted between them, however many calls that were. The first number
-- has fifteen digits: what has the same time is in the order in which it came.
local function entry_of(total, number)
  return string.format('%015d:%d', total, number)
end

local function numbers_of(entry)
  local total, number = string.match(entry, '^(%d+):(%d+)$')
  return tonumber(total), tonumber(number)
end

-- What comes after a time, in microseconds, as ZRANGE and ZREMRANGEBYSCORE have it. What has exactly this one is over.
local function after(time)
  return string.format('(%d', time)
end

-- How many had been counted before the first entry after that time; nothing if there is none.
local function counted_before(key, time)
  local first = redis.call('ZRANGE', key, after(time), '+inf', 'BYSCORE', 'LIMIT', 0, 1)[1]
  if not first then return nil end
  local total, number = numbers_of(first)
  return total - number
end

-- Returns how many were counted after that time, how many at all, and the time of the last.
local function counted_since(key, time)
  local last = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')
  if not last[1] then return 0, 0, 0 end
  local total = numbers_of(last[1])
  return total - (counted_before(key, time) or total), total, tonumber(last[2])
end
