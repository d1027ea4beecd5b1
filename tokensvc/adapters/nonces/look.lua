#!lua flags=allow-oom
-- Says what a nonce is now, and changes nothing.
-- KEYS: record, epoch record. ARGV: whether an unknown one would be crossed off (or empty), account, second of issue, as
-- for redeem. Answers {issued, grant} | {replayed | revoked | stale | unissued | fenced | hidden}.
local epoch, why = fence(KEYS[2])
if not epoch then return {why} end
local state, written_in, _, rest = read(KEYS[1])
if not state then
  if ARGV[1] == '' then return {'unissued'} end
  return marked(KEYS[2], ARGV[2], ARGV[3], '') and {'revoked'} or {'issued', ''}
end
if written_in ~= epoch then return {'stale'} end
if state == 'I' then return marked(KEYS[2], ARGV[2], ARGV[3], rest) and {'revoked'} or {'issued', rest} end
if state == 'R' then return {'revoked'} end
return {'replayed'}
