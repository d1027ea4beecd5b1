-- What a call counts of a subject by one quota is looked at once, and noted once: before its records, so that an error
-- between two commands counts too many, and never too few. The script that names this file has `epoch`, and by clock.lua
-- `second` and `now`.
-- counts.lua
local day = math.floor(second / 86400)

-- Lets a set of counts live until all in it has ended. One that was there before has a time, which is only put off:
-- what changes nothing is not written to the file.
local function keep(key, entries_before, ends)
  if entries_before == 0 then
    redis.call('EXPIREAT', key, ends)
  else
    redis.call('EXPIREAT', key, ends, 'GT')
  end
end

-- The clock went back. What is ahead of it counts as of now, or it would for longer than its window.
local function bring_back(key, total)
  local before = counted_before(key, now)
  -- In this order: a set that became empty would have lost its end.
  redis.call('ZADD', key, string.format('%d', now), entry_of(total, total - before))
  redis.call('ZREMRANGEBYSCORE', key, after(now), '+inf')
end

-- The time of the entry with which so many had been counted.
local function time_of(key, total)
  local low, high = 0, redis.call('ZCARD', key) - 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    if numbers_of(redis.call('ZRANGE', key, middle, middle)[1]) < total then low = middle + 1 else high = middle end
  end
  return tonumber(redis.call('ZRANGE', key, low, low, 'WITHSCORES')[2])
end

-- Looks whether so many more fit. Returns what count() takes, with how many are left before them (by the limit `nearest`),
-- or with what `refused` them: the limit, and the seconds until all would fit, or until none is left in the way.
-- What takes longest to pass is said first.
local function look(number, subject, rate, window, per_day, outstanding)
  -- With room for all that is told of it: a table that grows is made anew each time.
  local counts = {
    left = math.huge, nearest = false, refused = false, day_key = false, today = 0, outstanding_key = false, open = 0,
    rate_key = false, window = window, total = 0, latest = 0, quota = false, records = false, ends = false, last_end = 0,
  }
  if per_day then
    counts.day_key = quota_key(KEYS[1], subject, 'd')
    counts.today = issued_on(day, counts.day_key)
    counts.left, counts.nearest = per_day - counts.today, 'per_day'
    if counts.left < number then
      counts.refused = {'per_day', (day + 1) * 86400 - second}
      return counts
    end
  end
  if outstanding then
    local key = quota_key(KEYS[1], subject, 'o:' .. epoch)
    redis.call('ZREMRANGEBYSCORE', key, '-inf', second)
    local open = redis.call('ZCARD', key)
    counts.outstanding_key, counts.open = key, open
    if outstanding - open < counts.left then counts.left, counts.nearest = outstanding - open, 'outstanding' end
    if counts.left < number then
      local last = math.min(open + number - outstanding, open) - 1
      local ends = tonumber(redis.call('ZRANGE', key, last, last, 'WITHSCORES')[2]) or second + 1
      counts.refused = {'outstanding', ends - second}
      return counts
    end
  end
  if rate then
    local key, since = quota_key(KEYS[1], subject, 'c'), now - window * 1000000
    local lately, total, latest = counted_since(key, since)
    if latest > now then bring_back(key, total) end
    counts.rate_key, counts.total, counts.latest = key, total, latest
    if rate - lately < counts.left then counts.left, counts.nearest = rate - lately, 'rate' end
    if counts.left < number then
      local first = lately == 0 and now or time_of(key, total - lately + math.min(lately + number - rate, lately))
      counts.refused = {'rate', math.ceil((first - now) / 1000000 + window)}
    end
  end
  return counts
end

-- Counts so many that fit. `ends`, of use only where what is outstanding is counted: the end of each and its nonce, and
-- `last_end`, the last of these ends.
local function count(counts, number, ends, last_end)
  if counts.day_key then
    redis.call('SET', counts.day_key, day .. ':' .. (counts.today + number), 'EXAT', (day + 1) * 86400)
  end
  if counts.outstanding_key then
    redis.call('ZADD', counts.outstanding_key, unpack(ends))
    keep(counts.outstanding_key, counts.open, last_end)
  end
  if counts.rate_key then
    redis.call('ZADD', counts.rate_key, string.format('%d', now), entry_of(counts.total + number, number))
    -- Once a second is enough: each look passes over what has ended.
    if math.floor(counts.latest / 1000000) ~= second then
      local since = string.format('%d', now - counts.window * 1000000)
      redis.call('ZREMRANGEBYSCORE', counts.rate_key, '-inf', since)
      keep(counts.rate_key, counts.latest, second + counts.window + 1)
    end
  end
end
