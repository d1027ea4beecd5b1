#!lua
-- Notes nonces as issued, each by itself, and counts each whose subject has a quota. What comes of one is nothing to the
-- others. No flag: a full store refuses this, and nothing else.
-- It does not heal the fence: between a restart and a rebind that would make good credentials stale.
-- KEYS: epoch record, records. ARGV, of each record: request, grant, until, uses (empty, or as in uses.lua: "3,a"); subject,
-- rate, its seconds, per day, outstanding (all empty if there is no quota, and each that is no limit).
-- Answers of each record, in order: {recorded; if counted just now, how many more, and by which limit} |
-- {rate | per_day | outstanding, seconds to wait} |
-- {exists | stale | late | fenced | hidden}.
-- fence.lua
-- records.lua
-- issuing.lua
-- quotas.lua
local epoch, why = fence(KEYS[1])
local time = redis.call('TIME')
local second, now = tonumber(time[1]), time[1] * 1000000 + time[2]
local day = math.floor(second / 86400)

-- Returns whether it is recorded just now; and if not, what it is answered.
local function put(key, owner, request, grant, til, uses)
  -- SET takes a time that has passed without complaint, and the record is gone at once.
  if tonumber(til) <= second then return false, {'late'} end
  if redis.call('SET', key, issued(epoch, owner, uses, grant), 'NX', 'EXAT', til) then return true end
  local state, written_in, by = read(key)
  if (state ~= 'I' and state ~= 'M') or by ~= request then return false, {'exists'} end
  -- The same request again. Lifting its record into this epoch would lead back to I what may have been spent since.
  return false, {written_in == epoch and 'recorded' or 'stale'}
end

-- The lowest score that has to go until fewer than the limit are left.
local function in_the_way(key, count, limit)
  return tonumber(redis.call('ZRANGE', key, count - limit, count - limit, 'WITHSCORES')[2])
end

-- Looks whether one more fits, by this server's clock, and notes it. What takes longest to pass is said first.
local function put_and_count(key, request, grant, til, uses, subject, rate, window, per_day, outstanding)
  local owner, nonce = request, string.sub(key, -22)
  local rate_key, day_key, outstanding_key
  local today, open, lately = 0, 0, 0
  local full, wait
  local left, nearest = math.huge, nil

  if per_day then
    day_key = quota_key(KEYS[1], subject, 'd')
    local of, count = string.match(redis.call('GET', day_key) or '', '^(%d+):(%d+)$')
    if tonumber(of) == day then today = tonumber(count) end
    left, nearest = per_day - today, 'per_day'
    if left <= 0 then full, wait = 'per_day', (day + 1) * 86400 - second end
  end
  if outstanding and not full then
    owner, outstanding_key = request .. subject, quota_key(KEYS[1], subject, 'o:' .. epoch)
    redis.call('ZREMRANGEBYSCORE', outstanding_key, '-inf', second)
    open = redis.call('ZCARD', outstanding_key)
    if outstanding - open < left then left, nearest = outstanding - open, 'outstanding' end
    if left <= 0 then full, wait = 'outstanding', in_the_way(outstanding_key, open, outstanding) - second end
  end
  if rate and not full then
    rate_key = quota_key(KEYS[1], subject, 'r')
    redis.call('ZREMRANGEBYSCORE', rate_key, '-inf', string.format('%.0f', now - window * 1000000))
    lately = redis.call('ZCARD', rate_key)
    if rate - lately < left then left, nearest = rate - lately, 'rate' end
    if left <= 0 then
      full, wait = 'rate', math.ceil((in_the_way(rate_key, lately, rate) - now) / 1000000 + window)
    end
  end
  -- One that is on record was counted with it, and is answered as such.
  if full and not redis.call('GET', key) then return {full, wait} end

  local is_new, answer = put(key, owner, request, grant, til, uses)
  if not is_new then return answer end
  if per_day then redis.call('SET', day_key, day .. ':' .. (today + 1), 'EXAT', (day + 1) * 86400) end
  if outstanding then
    redis.call('ZADD', outstanding_key, til, nonce)
    keep(outstanding_key, open, til)
  end
  if rate then
    -- Not by the nonce alone: a client may choose one again, once its record has ended, and that counts again.
    redis.call('ZADD', rate_key, string.format('%.0f', now), nonce .. request)
    keep(rate_key, lately, second + window + 1)
  end
  return {'recorded', left - 1, nearest}
end

local function record(key, request, grant, til, uses, subject, rate, window, per_day, outstanding)
  if not epoch then return {why} end
  if subject ~= '' then
    return put_and_count(key, request, grant, til, uses, subject, tonumber(rate), tonumber(window), tonumber(per_day),
      tonumber(outstanding))
  end
  local is_new, answer = put(key, request, request, grant, til, uses)
  return is_new and {'recorded'} or answer
end

local answers = {}
for number = 1, #KEYS - 1 do
  answers[number] = record(KEYS[number + 1], unpack(ARGV, 9 * number - 8, 9 * number))
end
return answers
