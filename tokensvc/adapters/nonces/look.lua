#!lua flags=allow-oom
-- Says what a nonce is now, and changes nothing.
-- KEYS: record, epoch record. ARGV: whether an unknown one would be crossed off (or empty); its account and second of
-- issue as for redeem.
-- Answers {issued, grant, uses left} | {held | replayed | revoked | stale | unissued | fenced | hidden}.
-- fence.lua
-- records.lua
-- watermarks.lua
local epoch, why = fence(KEYS[2])
if not epoch then return {why} end
local state, written_in, _, rest = read(KEYS[1])
if not state then
  if ARGV[1] == '' then return {'unissued'} end
  return marked_elsewhere(KEYS[2], ARGV[2], ARGV[3]) and {'revoked'} or {'issued', '', 1}
end
if written_in ~= epoch then return {'stale'} end
if state == 'I' then return marked(KEYS[2], rest) and {'revoked'} or {'issued', rest, 1} end
-- uses.lua
if state == 'M' then
  local uses = read_uses(rest)
  if is_revoked(uses, KEYS[2]) then return {'revoked'} end
  local spent, claimed = taken(uses, milliseconds())
  if spent == uses.count then return {'replayed'} end
  if spent + claimed == uses.count then return {'held'} end
  return {'issued', uses.grant, uses.count - spent - claimed}
end
if state == 'R' then return {'revoked'} end
return {'replayed'}
