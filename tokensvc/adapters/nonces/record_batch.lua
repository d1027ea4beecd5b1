#!lua
-- Notes several nonces as issued and counts them, or does nothing. No flag, as in record: a full store refuses this.
-- KEYS: epoch record, records. ARGV: request; subject, rate, its seconds, per day, outstanding (all empty if there is no
-- quota, and each that is no limit), uses (as in record); receipt's id, text and until (all empty if there is none);
-- how many grants with their untils there are, and these; and if that is not one for all, for each record which it has.
-- Answers {recorded; if counted just now, how many more, and by which limit} |
-- {rate | per_day | outstanding, seconds to wait} |
-- {again, text of the receipt} | {exists, places from 0 …} | {stale | late | fenced | hidden}.
-- fence.lua
-- clock.lua
-- issuing.lua
-- there.lua
local epoch, why = fence(KEYS[1])
if not epoch then return {why} end
local second, now = clock()
-- counting.lua
local request, subject = ARGV[1], ARGV[2]

-- The receipt of another epoch is of credentials that are stale: the batch is recorded anew.
local receipt = ARGV[8] ~= '' and string.sub(KEYS[1], 1, -2) .. 'b:' .. ARGV[8]
if receipt then
  local _, written_in, owner, text = read(receipt)
  if written_in == epoch and owner == request then return {'recorded'} end
  if written_in == epoch then return {'again', text} end
end

local kinds = tonumber(ARGV[11])
local function kind_of(place) return kinds == 1 and 1 or tonumber(ARGV[12 + 2 * kinds + place]) end
local function until_of(kind) return ARGV[11 + 2 * kind] end

for kind = 1, kinds do
  if tonumber(until_of(kind)) <= second then return {'late'} end
end

-- A record of this request was counted with it, by a call whose reply was lost, and is left as it is.
local fresh, known, any_there = {}, {'exists'}, is_any_there()
for place = 0, #KEYS - 2 do
  local state, written_in, owner
  if any_there then state, written_in, owner = read(KEYS[place + 2]) end
  if not state then
    fresh[#fresh + 1] = place
  elseif (state ~= 'I' and state ~= 'M') or owner ~= request then
    known[#known + 1] = tostring(place)
  elseif written_in ~= epoch then
    return {'stale'}
  end
end
if #known > 1 then return known end
if #fresh == 0 then return {'recorded'} end

local counts, owner
if subject ~= '' then
  local rate, window, per_day, outstanding = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
  counts = look(#fresh, subject, rate, window, per_day, outstanding)
  if counts.refused then return counts.refused end
  local ends, latest = {}, 0
  if outstanding then
    for number = 1, #fresh do
      local til = until_of(kind_of(fresh[number]))
      ends[2 * number - 1], ends[2 * number] = til, string.sub(KEYS[fresh[number] + 2], -22)
      latest = math.max(latest, tonumber(til))
    end
    owner = request .. subject
  end
  count(counts, #fresh, ends, latest)
end

-- What is the same for many is made once.
local values, ends = {}, {}
for kind = 1, kinds do
  values[kind], ends[kind] = issued(epoch, owner or request, ARGV[7], ARGV[10 + 2 * kind]), until_of(kind) .. '000'
end
for number = 1, #fresh do
  local place = fresh[number]
  local kind = kind_of(place)
  -- In milliseconds, as the server writes it to its file.
  redis.call('SET', KEYS[place + 2], values[kind], 'PXAT', ends[kind])
end
if receipt then redis.call('SET', receipt, value_of('D', epoch, request, ARGV[9]), 'EXAT', ARGV[10]) end
if not counts then return {'recorded'} end
return {'recorded', counts.left - #fresh, counts.nearest}
