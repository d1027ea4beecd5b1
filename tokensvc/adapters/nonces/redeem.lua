#!lua flags=allow-oom
-- Spends a nonce, once. The same request is answered alike again, however often.
-- KEYS: record, epoch record. ARGV: request, time until which to cross off an unknown one (or empty), account (empty for
-- what no watermark concerns), and the second at which an unknown one was issued.
-- Answers {spent, grant} | {finished, result} | {replayed | revoked | stale | unissued | fenced | hidden}.
local epoch, why = fence(KEYS[2])
if not epoch then return {why} end
local state, written_in, request, rest, subject = read(KEYS[1])
if not state then
  if ARGV[2] == '' then return {'unissued'} end
  if ARGV[3] ~= '' and marked(KEYS[2], ARGV[3], ARGV[4], '') then return {'revoked'} end
  redis.call('SET', KEYS[1], value_of('C', epoch, ARGV[1], ''), 'EXAT', ARGV[2])
  -- By this server's clock the time may have passed. Then nothing is kept, and each use would be the first.
  if redis.call('GET', KEYS[1]) then return {'spent', ''} end
  return {'unissued'}
end
if written_in ~= epoch then return {'stale'} end
if state == 'I' then
  if marked(KEYS[2], ARGV[3], ARGV[4], rest) then return {'revoked'} end
  redis.call('SET', KEYS[1], value_of('C', epoch, ARGV[1], rest), 'KEEPTTL')
  not_outstanding(KEYS[1], KEYS[2], epoch, subject)
  return {'spent', rest}
end
if state == 'R' then return {'revoked'} end
if request ~= ARGV[1] then return {'replayed'} end
if state == 'D' then return {'finished', rest} end
return {'spent', rest}
