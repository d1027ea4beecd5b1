#!lua flags=allow-oom
-- Says what a nonce is now, and changes nothing.
-- KEYS: record, epoch record.
-- Answers {issued, grant, uses left} | {held | replayed | revoked | stale | unissued | fenced | hidden}.
local epoch, why = fence(KEYS[2])
if not epoch then return {why} end
local state, written_in, _, rest = read(KEYS[1])
if not state then return {'unissued'} end
if written_in ~= epoch then return {'stale'} end
if state == 'I' then return {'issued', rest, 1} end
-- uses.lua
if state == 'M' then
  local uses = read_uses(rest)
  if uses.revoked_by then return {'revoked'} end
  local spent, claimed = taken(uses, milliseconds())
  if spent == uses.count then return {'replayed'} end
  if spent + claimed == uses.count then return {'held'} end
  return {'issued', uses.grant, uses.count - spent - claimed}
end
if state == 'R' then return {'revoked'} end
return {'replayed'}
