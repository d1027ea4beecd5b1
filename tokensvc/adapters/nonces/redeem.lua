#!lua flags=allow-oom
-- Spends a nonce, once. The same request is answered alike again, however often.
-- KEYS: record, epoch record. ARGV: request, time until which to cross off an unknown one (or empty).
-- Answers {spent, grant, and if it was spent just now the epoch and how many were spent in it} | {finished, result} |
-- {replayed | revoked | stale | unissued | fenced | hidden}.
local epoch, why = fence(KEYS[2])
if not epoch then return {why} end
-- The count ends with the store, as the epoch record does. Whoever saw a higher one knows that the store went back.
local function spent(grant)
  local key = string.sub(KEYS[2], 1, -2) .. 's'
  local counted_in, number = string.match(redis.call('GET', key) or '', '^([%w_-]+):(%d+)$')
  number = counted_in == epoch and tonumber(number) + 1 or 1
  redis.call('SET', key, epoch .. ':' .. string.format('%.0f', number))  -- the count of a bucket, no record
  return {'spent', grant, epoch, string.format('%.0f', number)}
end

local state, written_in, request, rest, subject = read(KEYS[1])
if not state then
  if ARGV[2] == '' then return {'unissued'} end
  redis.call('SET', KEYS[1], value_of('C', epoch, ARGV[1], ''), 'EXAT', ARGV[2])
  -- By this server's clock the time may have passed. Then nothing is kept, and each use would be the first.
  if redis.call('GET', KEYS[1]) then return spent('') end
  return {'unissued'}
end
if written_in ~= epoch then return {'stale'} end
if state == 'I' then
  redis.call('SET', KEYS[1], value_of('C', epoch, ARGV[1], rest), 'KEEPTTL')
  not_outstanding(KEYS[1], KEYS[2], epoch, subject)
  return spent(rest)
end
if state == 'R' then return {'revoked'} end
if request ~= ARGV[1] then return {'replayed'} end
if state == 'D' then return {'finished', rest} end
return {'spent', rest}
