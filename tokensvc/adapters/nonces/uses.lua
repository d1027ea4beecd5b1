-- A record with uses: one that is good more than once, or whose use counts only once its file is kept. Named only where
-- there is such a record: what has none does not pay for these functions.
-- records.lua
-- spending.lua
-- watermarks.lua

-- The rest of such a record is "<count>,<a|s>,<claims>,<length>:<revoked by><claim>…<grant>":
--   a  a use is spent by the attempt     s  it is claimed for a while, then spent or given back
--   The length is empty while it is not revoked. A claim is "<request><state><till>,<length>:<result>":
--   L  claimed until that millisecond, and given to another only after it
--   C  spent                              D  done, with its result
-- No claim leads from C or D back to L, and none is ever removed but from L.
local function read_uses(rest)
  local count, spend, claims, length, at = string.match(rest, '^(%d+),([as]),(%d+),(%d*):()')
  local uses = {count = tonumber(count), spend = spend}
  if length ~= '' then
    uses.revoked_by = string.sub(rest, at, at + length - 1)
    at = at + length
  end
  for place = 1, tonumber(claims) do
    local state, till, size, from = string.match(rest, '^([LCD])(%d*),(%d+):()', at + 22)
    uses[place] = {
      request = string.sub(rest, at, at + 21),
      state = state,
      till = tonumber(till),
      result = string.sub(rest, from, from + size - 1)
    }
    at = from + size
  end
  uses.grant = string.sub(rest, at)
  return uses
end

local function write_uses(key, epoch, owner, uses)
  local by = uses.revoked_by
  local parts = {uses.count .. ',' .. uses.spend .. ',' .. #uses .. ',' .. (by and #by .. ':' .. by or ':')}
  for _, claim in ipairs(uses) do
    local till = claim.till and string.format('%.0f', claim.till) or ''
    parts[#parts + 1] = claim.request .. claim.state .. till .. ',' .. #claim.result .. ':' .. claim.result
  end
  parts[#parts + 1] = uses.grant
  redis.call('SET', key, value_of('M', epoch, owner, table.concat(parts)), 'KEEPTTL')
end

local function milliseconds()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The claim of a request and its place, or nothing.
local function claim_of(uses, request)
  for place, claim in ipairs(uses) do
    if claim.request == request then return claim, place end
  end
end

-- How many uses are spent, and how many are claimed at this moment by somebody whose time has not ended.
local function taken(uses, now)
  local spent, claimed = 0, 0
  for _, claim in ipairs(uses) do
    if claim.state ~= 'L' then spent = spent + 1 elseif claim.till > now then claimed = claimed + 1 end
  end
  return spent, claimed
end

-- Whether what is not spent of it is revoked, by itself or by a watermark; of what is all spent there is nothing left.
local function is_revoked(uses, epoch_key)
  if uses.revoked_by then return true end
  local spent = taken(uses, 0)
  return spent < uses.count and marked(epoch_key, uses.grant)
end

-- Makes a place for one more claim: a free one, or that of the claim which ended first.
-- Returns whether there is one, and if not, the milliseconds until a claim ends; nothing if all are spent.
local function make_room(uses, now)
  if #uses < uses.count then return true end
  local first
  for place, claim in ipairs(uses) do
    if claim.state == 'L' and not (first and uses[first].till <= claim.till) then first = place end
  end
  if not first then return false end
  if uses[first].till > now then return false, uses[first].till - now end
  table.remove(uses, first)
  return true
end

-- After the last use it is not outstanding.
local function spend_claim(key, epoch_key, epoch, owner, subject, uses, claim)
  claim.state, claim.till = 'C', nil
  write_uses(key, epoch, owner, uses)
  if taken(uses, 0) == uses.count then not_outstanding(key, epoch_key, epoch, subject) end
end
