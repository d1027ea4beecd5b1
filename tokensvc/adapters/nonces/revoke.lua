#!lua flags=allow-oom
-- Makes an issued nonce unspendable, with all its uses that are not spent, claimed ones too. Who comes second finds it
-- revoked, and the first name stays.
-- KEYS: record, epoch record. ARGV: actor.
-- Answers {revoked | replayed | stale | unissued | fenced | hidden}.
-- fence.lua
-- records.lua
-- spending.lua
local epoch, why = fence(KEYS[2])
if not epoch then return {why} end
local state, written_in, request, rest, subject = read(KEYS[1])
if not state then return {'unissued'} end
if written_in ~= epoch then return {'stale'} end
if state == 'I' then
  redis.call('SET', KEYS[1], value_of('R', epoch, request, #ARGV[1] .. ':' .. ARGV[1] .. rest), 'KEEPTTL')
  not_outstanding(KEYS[1], KEYS[2], epoch, subject)
  return {'revoked'}
end
-- uses.lua
if state == 'M' then
  local uses = read_uses(rest)
  if uses.revoked_by then return {'revoked'} end
  if taken(uses, 0) == uses.count then return {'replayed'} end
  uses.revoked_by = ARGV[1]
  write_uses(KEYS[1], epoch, request .. subject, uses)
  not_outstanding(KEYS[1], KEYS[2], epoch, subject)
  return {'revoked'}
end
if state == 'R' then return {'revoked'} end
return {'replayed'}
