#!lua
-- Notes several nonces as issued and counts them, or does nothing. No flag, as in record: a full store refuses this.
-- KEYS: epoch record, records. ARGV: request; subject, rate, its seconds, per day, outstanding (all empty if there is no
-- quota, and each that is no limit), uses (as in record); receipt's id, text and until (all empty if there is none);
-- how many grants with their untils there are, and these; and if that is not one for all, for each record which it has.
-- Answers {recorded; if counted just now, how many more, and by which limit} |
-- {rate | per_day | outstanding, seconds to wait} |
-- {again, text of the receipt} | {exists, places from 0 …} | {stale | late | fenced | hidden}.
-- fence.lua
-- records.lua
-- issuing.lua
-- quotas.lua
local epoch, why = fence(KEYS[1])
if not epoch then return {why} end
local time = redis.call('TIME')
local second, now = tonumber(time[1]), time[1] * 1000000 + time[2]
local request, subject = ARGV[1], ARGV[2]
local rate, window, per_day, outstanding = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

-- The receipt of another epoch is of credentials that are stale: the batch is recorded anew.
local receipt = ARGV[8] ~= '' and string.sub(KEYS[1], 1, -2) .. 'b:' .. ARGV[8]
if receipt then
  local _, written_in, owner, text = read(receipt)
  if written_in == epoch and owner == request then return {'recorded'} end
  if written_in == epoch then return {'again', text} end
end

local kinds = tonumber(ARGV[11])
local function kind_of(place) return kinds == 1 and 1 or tonumber(ARGV[12 + 2 * kinds + place]) end
local function until_of(kind) return ARGV[11 + 2 * kind] end

-- A record of this request was counted with it, by a call whose reply was lost, and is left as it is.
local fresh, known = {}, {'exists'}
for place = 0, #KEYS - 2 do
  local state, written_in, owner = read(KEYS[place + 2])
  if not state then
    if tonumber(until_of(kind_of(place))) <= second then return {'late'} end
    fresh[#fresh + 1] = place
  elseif (state ~= 'I' and state ~= 'M') or owner ~= request then
    known[#known + 1] = tostring(place)
  elseif written_in ~= epoch then
    return {'stale'}
  end
end
if #known > 1 then return known end
if #fresh == 0 then return {'recorded'} end

local many_left, nearest, today, day = math.huge, nil, 0, math.floor(second / 86400)
local open, lately = 0, 0
local rate_key, day_key = quota_key(KEYS[1], subject, 'r'), quota_key(KEYS[1], subject, 'd')
local outstanding_key = quota_key(KEYS[1], subject, 'o:' .. epoch)

local function fit(name, limit, count)
  if limit - count - #fresh < many_left then many_left, nearest = limit - count - #fresh, name end
  return count + #fresh <= limit
end
-- The lowest score that has to go until all fit; the highest there is if that is not enough, nothing if there is none.
local function in_the_way(key, count, limit)
  local last = math.min(count + #fresh - limit, count) - 1
  return tonumber(redis.call('ZRANGE', key, last, last, 'WITHSCORES')[2])
end

if per_day then
  local of, count = string.match(redis.call('GET', day_key) or '', '^(%d+):(%d+)$')
  if tonumber(of) == day then today = tonumber(count) end
  if not fit('per_day', per_day, today) then return {'per_day', (day + 1) * 86400 - second} end
end
if outstanding then
  redis.call('ZREMRANGEBYSCORE', outstanding_key, '-inf', second)
  open = redis.call('ZCARD', outstanding_key)
  if not fit('outstanding', outstanding, open) then
    return {'outstanding', (in_the_way(outstanding_key, open, outstanding) or second + 1) - second}
  end
end
if rate then
  redis.call('ZREMRANGEBYSCORE', rate_key, '-inf', string.format('%.0f', now - window * 1000000))
  lately = redis.call('ZCARD', rate_key)
  if not fit('rate', rate, lately) then
    return {'rate', math.ceil(((in_the_way(rate_key, lately, rate) or now) - now) / 1000000 + window)}
  end
end

-- What is the same for many is made once, and each count is one command.
local owner, values = outstanding and request .. subject or request, {}
for kind = 1, kinds do values[kind] = issued(epoch, owner, ARGV[7], ARGV[10 + 2 * kind]) end
local by_end, by_now, time_text = {}, {}, string.format('%.0f', now)
for number, place in ipairs(fresh) do
  local key, kind = KEYS[place + 2], kind_of(place)
  local nonce, til = string.sub(key, -22), until_of(kind)
  redis.call('SET', key, values[kind], 'EXAT', til)
  if outstanding then by_end[2 * number - 1], by_end[2 * number] = til, nonce end
  if rate then by_now[2 * number - 1], by_now[2 * number] = time_text, nonce .. request end
end
if outstanding then redis.call('ZADD', outstanding_key, unpack(by_end)) end
if rate then redis.call('ZADD', rate_key, unpack(by_now)) end
if per_day then redis.call('SET', day_key, day .. ':' .. (today + #fresh), 'EXAT', (day + 1) * 86400) end
if outstanding then
  redis.call('EXPIREAT', outstanding_key, redis.call('ZRANGE', outstanding_key, -1, -1, 'WITHSCORES')[2])
end
if rate then keep(rate_key, lately, second + window + 1) end
if receipt then redis.call('SET', receipt, value_of('D', epoch, request, ARGV[9]), 'EXAT', ARGV[10]) end
if many_left == math.huge then return {'recorded'} end
return {'recorded', many_left, nearest}
