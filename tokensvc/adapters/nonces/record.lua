#!lua
-- Notes a nonce as issued. No flag: a store that is full refuses this, and nothing else.
-- It does not heal the fence: between a restart and a rebind that would make good credentials stale.
-- KEYS: record, epoch record. ARGV: request, grant, until.
-- Answers {recorded | exists | stale | late | fenced | hidden}.
local epoch, why = fence(KEYS[2])
if not epoch then return {why} end
if redis.call('SET', KEYS[1], value_of('I', epoch, ARGV[1], ARGV[2]), 'NX', 'EXAT', ARGV[3]) then
  -- A time that has passed is taken without complaint, and the record is gone at once.
  if redis.call('GET', KEYS[1]) then return {'recorded'} end
  return {'late'}
end
local state, written_in, request = read(KEYS[1])
if state ~= 'I' or request ~= ARGV[1] then return {'exists'} end
-- The same request again. Lifting its record into this epoch would lead back to I what may have been spent since.
if written_in ~= epoch then return {'stale'} end
return {'recorded'}
