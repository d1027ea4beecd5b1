#!lua flags=no-writes
-- Says how many more a subject may have by each limit, and changes nothing: what has ended is passed over, not removed.
-- KEYS: epoch record. ARGV: subject, rate, its seconds, per day, outstanding (empty for what is no limit).
-- Answers {left, by the rate, per day, outstanding} (-1 for what is no limit) | {fenced | hidden}.
-- fence.lua
-- clock.lua
-- counts.lua
local epoch, why = fence(KEYS[1])
if not epoch then return {why} end
local second, now = clock()
local subject, rate, window = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local per_day, outstanding = tonumber(ARGV[4]), tonumber(ARGV[5])

local function left(limit, count) return math.max(0, limit - count) end

local by_rate, by_day, by_outstanding = -1, -1, -1
if rate then
  by_rate = left(rate, (counted_since(quota_key(KEYS[1], subject, 'c'), now - window * 1000000)))
end
if per_day then by_day = left(per_day, issued_on(math.floor(second / 86400), quota_key(KEYS[1], subject, 'd'))) end
if outstanding then
  local open = redis.call('ZCOUNT', quota_key(KEYS[1], subject, 'o:' .. epoch), '(' .. second, '+inf')
  by_outstanding = left(outstanding, open)
end
return {'left', by_rate, by_day, by_outstanding}
