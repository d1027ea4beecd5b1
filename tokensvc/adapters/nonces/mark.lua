#!lua flags=allow-oom
-- Sets a watermark. It only rises, and ends when the last credential that it can concern has ended.
-- KEYS: epoch record. ARGV: scope, source (or empty), name, the second before which it revokes, until.
-- Answers {marked} | {fenced | hidden}.
-- fence.lua
-- watermarks.lua
local epoch, why = fence(KEYS[1])
if not epoch then return {why} end
local any, key = string.sub(KEYS[1], 1, -2) .. 'w', mark_key(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
-- The second key says until when there are any, so it is not to end before the first.
for _, rising in ipairs({{key, ARGV[4]}, {any, ARGV[5]}}) do
  if tonumber(rising[2]) > tonumber(redis.call('GET', rising[1]) or 0) then
    redis.call('SET', rising[1], rising[2], 'EXAT', ARGV[5])
  end
end
return {'marked'}
