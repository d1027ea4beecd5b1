#!lua flags=allow-oom
-- Looks at some of the keys that are there, and counts the nonces among them that could be spent now. Changes nothing.
-- KEYS: epoch record. ARGV: cursor, about how many keys to look at, their pattern, their slot in a cluster (or empty),
-- and the milliseconds by which a record outlives its credential.
-- Answers {counted, next cursor, keys looked at, outstanding among them, keys there} | {fenced | hidden}.
-- fence.lua
-- records.lua
-- watermarks.lua
local epoch, why = fence(KEYS[1])
if not epoch then return {why} end
-- uses.lua
-- On a server alone there may be more buckets than the one that was named, each with an epoch of its own.
local epochs = {[KEYS[1]] = epoch}
local function epoch_of(epoch_key)
  if epochs[epoch_key] == nil then epochs[epoch_key] = fence(epoch_key) or '' end
  return epochs[epoch_key]
end

-- Without a grant it is no credential: it stands for one of another bucket, where that is counted.
local function is_outstanding(key, epoch_key)
  local state, written_in, _, rest = read(key)
  if (state ~= 'I' and state ~= 'M') or rest == '' or written_in ~= epoch_of(epoch_key) then return false end
  if redis.call('PTTL', key) <= tonumber(ARGV[5]) then return false end
  if state == 'I' then return not marked(epoch_key, rest) end
  local uses = read_uses(rest)
  return taken(uses, 0) < uses.count and not is_revoked(uses, epoch_key)
end

local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[3], 'COUNT', ARGV[2])
local found = 0
for _, key in ipairs(page[2]) do
  local bucket = string.match(key, '^(ik{%x%x}:)n:')
  if bucket and is_outstanding(key, bucket .. 'e') then found = found + 1 end
end
local there = ARGV[4] == '' and redis.call('DBSIZE') or redis.call('CLUSTER', 'COUNTKEYSINSLOT', ARGV[4])
return {'counted', page[1], #page[2], found, there}
