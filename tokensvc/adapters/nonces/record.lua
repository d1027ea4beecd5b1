#!lua
-- Notes a nonce as issued, and counts it if the subject has a quota. No flag: a full store refuses this, and nothing
-- else.
-- It does not heal the fence: between a restart and a rebind that would make good credentials stale.
-- KEYS: record, epoch record. ARGV: request, grant, until, uses (empty, or as in uses.lua: "3,a"); and if there is a
-- quota: subject, rate, its seconds, per day, outstanding (empty for what is no limit).
-- Answers {recorded; if counted just now, how many more, and by which limit} |
-- {rate | per_day | outstanding, seconds to wait} |
-- {exists | stale | late | fenced | hidden}.
local epoch, why = fence(KEYS[2])
if not epoch then return {why} end
local time = redis.call('TIME')
local second, now = tonumber(time[1]), time[1] * 1000000 + time[2]

-- Looks whether one more fits, by this server's clock. What takes longest to pass is said first.
-- Returns what notes it and answers how many more would fit; or nothing, the limit and the seconds to wait.
local function counter(rate, window, per_day, outstanding)
  local nonce = string.sub(KEYS[1], -22)
  local rate_key, day_key = quota_key(KEYS[2], ARGV[5], 'r'), quota_key(KEYS[2], ARGV[5], 'd')
  local outstanding_key = quota_key(KEYS[2], ARGV[5], 'o:' .. epoch)
  local day, today, open, lately = math.floor(second / 86400), 0, 0, 0
  local many_left, nearest = math.huge, nil

  local function is_left(name, limit, count)
    if limit - count - 1 < many_left then many_left, nearest = limit - count - 1, name end
    return count < limit
  end
  -- The lowest score that has to go until fewer than the limit are left.
  local function in_the_way(key, count, limit)
    return tonumber(redis.call('ZRANGE', key, count - limit, count - limit, 'WITHSCORES')[2])
  end

  if per_day then
    local of, count = string.match(redis.call('GET', day_key) or '', '^(%d+):(%d+)$')
    if tonumber(of) == day then today = tonumber(count) end
    if not is_left('per_day', per_day, today) then return nil, 'per_day', (day + 1) * 86400 - second end
  end
  if outstanding then
    redis.call('ZREMRANGEBYSCORE', outstanding_key, '-inf', second)
    open = redis.call('ZCARD', outstanding_key)
    if not is_left('outstanding', outstanding, open) then
      return nil, 'outstanding', in_the_way(outstanding_key, open, outstanding) - second
    end
  end
  if rate then
    redis.call('ZREMRANGEBYSCORE', rate_key, '-inf', string.format('%.0f', now - window * 1000000))
    lately = redis.call('ZCARD', rate_key)
    if not is_left('rate', rate, lately) then
      return nil, 'rate', math.ceil((in_the_way(rate_key, lately, rate) - now) / 1000000 + window)
    end
  end

  return function()
    if per_day then redis.call('SET', day_key, day .. ':' .. (today + 1), 'EXAT', (day + 1) * 86400) end
    if outstanding then
      redis.call('ZADD', outstanding_key, ARGV[3], nonce)
      keep(outstanding_key, open, ARGV[3])
    end
    if rate then
      -- Not by the nonce alone: a client may choose one again, once its record has ended, and that counts again.
      redis.call('ZADD', rate_key, string.format('%.0f', now), nonce .. ARGV[1])
      keep(rate_key, lately, second + window + 1)
    end
    return many_left, nearest
  end
end

local owner, count, limit, wait = ARGV[1], nil, nil, nil
if ARGV[5] then
  count, limit, wait = counter(tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]))
  -- One that is on record was counted with it, and is answered as such.
  if limit and not redis.call('GET', KEYS[1]) then return {limit, wait} end
  if ARGV[9] ~= '' then owner = owner .. ARGV[5] end
end
-- SET takes a time that has passed without complaint, and the record is gone at once.
if tonumber(ARGV[3]) <= second then return {'late'} end
if not limit and redis.call('SET', KEYS[1], issued(epoch, owner, ARGV[4], ARGV[2]), 'NX', 'EXAT', ARGV[3]) then
  if not count then return {'recorded'} end
  return {'recorded', count()}
end
local state, written_in, request = read(KEYS[1])
if (state ~= 'I' and state ~= 'M') or request ~= ARGV[1] then return {'exists'} end
-- The same request again. Lifting its record into this epoch would lead back to I what may have been spent since.
if written_in ~= epoch then return {'stale'} end
return {'recorded'}
