#!lua flags=allow-oom
-- Says what a nonce is now, and changes nothing.
-- KEYS: record, epoch record. Answers {issued, grant} | {replayed | revoked | stale | unissued | fenced | hidden}.
local epoch, why = fence(KEYS[2])
if not epoch then return {why} end
local state, written_in, _, rest = read(KEYS[1])
if not state then return {'unissued'} end
if written_in ~= epoch then return {'stale'} end
if state == 'I' then return {'issued', rest} end
if state == 'R' then return {'revoked'} end
return {'replayed'}
