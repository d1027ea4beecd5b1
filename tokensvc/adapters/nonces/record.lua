#!lua
-- Notes nonces as issued, each by itself, and counts each whose subject has a quota. What comes of one is nothing to the
-- others. No flag: a full store refuses this, and nothing else.
-- It does not heal the fence: between a restart and a rebind that would make good credentials stale.
-- KEYS: epoch record, records. ARGV, of each record: request, grant, until, uses (empty, or as in uses.lua: "3,a"); subject,
-- rate, its seconds, per day, outstanding (all empty if there is no quota, and each that is no limit).
-- Answers of each record, in order: {recorded; if counted just now, how many more, and by which limit} |
-- {rate | per_day | outstanding, seconds to wait} |
-- {exists | stale | late | fenced | hidden}.
-- fence.lua
-- clock.lua
-- issuing.lua
local epoch, why = fence(KEYS[1])
local answers = {}
if not epoch then
  for number = 1, #KEYS - 1 do answers[number] = {why} end
  return answers
end
local second, now = clock()

local function put(key, owner, grant, til, uses)
  -- In milliseconds, as the server writes it to its file.
  return redis.call('SET', key, issued(epoch, owner, uses, grant), 'NX', 'PXAT', til .. '000')
end

-- SET takes a time that has passed without complaint, and the record is gone at once.
local function is_late(til) return tonumber(til) <= second end

-- What is answered for one that is there: to the same request, what it was answered before.
local function found(key, request)
  local state, written_in, by = read(key)
  if (state ~= 'I' and state ~= 'M') or by ~= request then return {'exists'} end
  -- The same request again. Lifting its record into this epoch would lead back to I what may have been spent since.
  return {written_in == epoch and 'recorded' or 'stale'}
end

local function record(key, request, grant, til, uses)
  if is_late(til) then return {'late'} end
  if put(key, request, grant, til, uses) then return {'recorded'} end
  return found(key, request)
end

local is_any_counted = false
for place = 5, #ARGV, 9 do is_any_counted = is_any_counted or ARGV[place] ~= '' end
if not is_any_counted then
  for number = 1, #KEYS - 1 do
    local place = 9 * number - 8
    answers[number] = record(KEYS[number + 1], ARGV[place], ARGV[place + 1], ARGV[place + 2], ARGV[place + 3])
  end
  return answers
end

-- there.lua
-- counting.lua
-- By subject, what is decided and not written yet: one quota's. And what is twice in the call.
local open, seen, any_there = {}, {}, is_any_there()

local function write(subject)
  local counts = open[subject]
  open[subject] = nil
  if #counts.records == 0 then return end
  count(counts, #counts.records, counts.ends, counts.last_end)
  for _, one in ipairs(counts.records) do put(unpack(one)) end
end

-- Where the nearest limit is used up, or another quota's is asked for, what is decided is written, and looked at anew.
local function counts_of(subject, rate, window, per_day, outstanding)
  local counts = open[subject]
  if counts then
    local is_same = counts.quota[1] == rate and counts.quota[2] == window and counts.quota[3] == per_day
      and counts.quota[4] == outstanding
    if is_same and (counts.refused or counts.left > 0) then return counts end
    write(subject)
  end
  counts = look(1, subject, tonumber(rate), tonumber(window), tonumber(per_day), tonumber(outstanding))
  counts.quota, counts.records, counts.ends = {rate, window, per_day, outstanding}, {}, {}
  open[subject] = counts
  return counts
end

local function record_and_count(key, request, grant, til, uses, subject, ...)
  local counts, is_there = counts_of(subject, ...), any_there and redis.call('GET', key)
  -- One that is on record was counted with it, and is answered as such.
  if counts.refused and not is_there then return counts.refused end
  if is_late(til) then return {'late'} end
  if is_there then return found(key, request) end
  local number, owner = #counts.records + 1, request
  if counts.outstanding_key then
    owner, counts.last_end = request .. subject, math.max(counts.last_end, tonumber(til))
    counts.ends[2 * number - 1], counts.ends[2 * number] = til, string.sub(key, -22)
  end
  counts.records[number], counts.left = {key, owner, grant, til, uses}, counts.left - 1
  return {'recorded', counts.left, counts.nearest}
end

for number = 1, #KEYS - 1 do
  local key, place = KEYS[number + 1], 9 * number - 8
  if seen[key] then
    for subject in pairs(open) do write(subject) end
    any_there = true
  end
  seen[key] = true
  local one = ARGV[place + 4] == '' and record or record_and_count
  answers[number] = one(key, unpack(ARGV, place, place + 8))
end
for subject in pairs(open) do write(subject) end
return answers
