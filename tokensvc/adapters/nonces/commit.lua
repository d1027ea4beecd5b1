#!lua flags=allow-oom
-- Spends the use that a request has claimed. One whose time has ended is still its own until another has taken it.
-- KEYS: record, epoch record. ARGV: request.
-- Answers {spent} | {held | replayed | revoked | stale | unissued | fenced | hidden}; spent again, as the first time.
-- fence.lua
-- records.lua
local epoch, why = fence(KEYS[2])
if not epoch then return {why} end
local state, written_in, owner, rest, subject = read(KEYS[1])
if not state then return {'unissued'} end
if written_in ~= epoch then return {'stale'} end
if state == 'R' then return {'revoked'} end
if state ~= 'M' then return {'replayed'} end
-- uses.lua
local uses = read_uses(rest)
local claim = claim_of(uses, ARGV[1])
if claim and claim.state ~= 'L' then return {'spent'} end
if is_revoked(uses, KEYS[2]) then return {'revoked'} end
if claim then
  spend_claim(KEYS[1], KEYS[2], epoch, owner .. subject, subject, uses, claim)
  return {'spent'}
end
if taken(uses, 0) == uses.count then return {'replayed'} end
return {'held'}
