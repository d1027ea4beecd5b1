#!lua flags=no-writes
-- Says how many more a subject may have by each limit, and changes nothing: what has ended is passed over, not removed.
-- KEYS: epoch record. ARGV: subject, rate, its seconds, per day, outstanding (empty for what is no limit).
-- Answers {left, by the rate, per day, outstanding} (-1 for what is no limit) | {fenced | hidden}.
-- fence.lua
-- quotas.lua
local epoch, why = fence(KEYS[1])
if not epoch then return {why} end
local time = redis.call('TIME')
local second, now = tonumber(time[1]), time[1] * 1000000 + time[2]
local rate, window, per_day, outstanding = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

local function left(limit, count) return math.max(0, limit - count) end
-- As record.lua counts: what has exactly this score has ended.
local function above(what, score)
  return redis.call('ZCOUNT', quota_key(KEYS[1], ARGV[1], what), '(' .. string.format('%.0f', score), '+inf')
end

local by_rate, by_day, by_outstanding = -1, -1, -1
if rate then by_rate = left(rate, above('r', now - window * 1000000)) end
if per_day then
  local of, count = string.match(redis.call('GET', quota_key(KEYS[1], ARGV[1], 'd')) or '', '^(%d+):(%d+)$')
  by_day = left(per_day, tonumber(of) == math.floor(second / 86400) and tonumber(count) or 0)
end
if outstanding then by_outstanding = left(outstanding, above('o:' .. epoch, second)) end
return {'left', by_rate, by_day, by_outstanding}
