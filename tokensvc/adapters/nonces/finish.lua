#!lua flags=allow-oom
-- Notes the result of a redemption, for the request that holds it. The first result stays.
-- KEYS: record, epoch record. ARGV: request, result.
-- Answers {finished | unheld | fenced | hidden}.
-- fence.lua
-- records.lua
local epoch, why = fence(KEYS[2])
if not epoch then return {why} end
local state, written_in, request, rest, subject = read(KEYS[1])
if written_in ~= epoch then return {'unheld'} end
if state ~= 'M' then
  if request ~= ARGV[1] then return {'unheld'} end
  if state == 'C' then
    redis.call('SET', KEYS[1], value_of('D', epoch, request, #ARGV[2] .. ':' .. ARGV[2] .. rest), 'KEEPTTL')
    return {'finished'}
  end
  if state == 'D' then return {'finished'} end
  return {'unheld'}
end
-- uses.lua
local uses = read_uses(rest)
local claim = claim_of(uses, ARGV[1])
if not claim or claim.state == 'L' then return {'unheld'} end
if claim.state == 'C' then
  claim.state, claim.result = 'D', ARGV[2]
  write_uses(KEYS[1], epoch, request .. subject, uses)
end
return {'finished'}
