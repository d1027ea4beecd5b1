#!lua flags=allow-oom
-- Gives back the use that a request has claimed and not spent. The one way back to issued, beside the end of its time.
-- KEYS: record, epoch record. ARGV: request.
-- Answers {released | unheld | fenced | hidden}.
-- fence.lua
-- records.lua
local epoch, why = fence(KEYS[2])
if not epoch then return {why} end
local state, written_in, owner, rest, subject = read(KEYS[1])
if state ~= 'M' or written_in ~= epoch then return {'unheld'} end
-- uses.lua
local uses = read_uses(rest)
local claim, place = claim_of(uses, ARGV[1])
if not claim or claim.state ~= 'L' then return {'unheld'} end
table.remove(uses, place)
write_uses(KEYS[1], epoch, owner .. subject, uses)
return {'released'}
