#!lua flags=allow-oom
-- Spends nonces, each by itself, once; of one with uses, one of them. The same request is answered alike again, however
-- often. What comes of one is nothing to the others.
-- KEYS: epoch record, records. ARGV, of each record: request, time until which to cross off an unknown one (or empty),
-- seconds for which a use that counts only later is claimed (or empty: it is spent at once), and of an unknown one the
-- account (empty if no watermark concerns it) and the second of issue.
-- Answers of each record, in order:
-- {spent, grant, and if it was spent just now the epoch and how many were spent in it} | {claimed, grant} |
-- {finished, result, grant} | {held, seconds to wait, grant} |
-- {replayed | revoked | stale, grant (or empty)} | {unissued | fenced | hidden}.
-- fence.lua
-- records.lua
-- spending.lua
-- watermarks.lua
local epoch, why = fence(KEYS[1])

-- The count ends with the store, as the epoch record does. Whoever saw a higher one knows that the store went back.
local function spent(grant)
  local key = string.sub(KEYS[1], 1, -2) .. 's'
  local counted_in, number = string.match(redis.call('GET', key) or '', '^([%w_-]+):(%d+)$')
  number = counted_in == epoch and tonumber(number) + 1 or 1
  redis.call('SET', key, epoch .. ':' .. string.format('%.0f', number))  -- the count of a bucket, no record
  return {'spent', grant, epoch, string.format('%.0f', number)}
end

local function redeem(key, request, cross_off, lease, account, second)
  if not epoch then return {why} end
  local state, written_in, by, rest, subject = read(key)
  if not state then
    if cross_off == '' then return {'unissued'} end
    if marked_elsewhere(KEYS[1], account, second) then return {'revoked'} end
    redis.call('SET', key, value_of('C', epoch, request, ''), 'EXAT', cross_off)
    -- By this server's clock the time may have passed. Then nothing is kept, and each use would be the first.
    if redis.call('GET', key) then return spent('') end
    return {'unissued'}
  end
  -- What is done or revoked has "<length>:<result, or by whom><grant>".
  local before = ''
  if state == 'D' or state == 'R' then
    local length, at = string.match(rest, '^(%d+):()')
    if length then before, rest = string.sub(rest, at, at + length - 1), string.sub(rest, at + length) end
  end
  if written_in ~= epoch then return {'stale', state ~= 'M' and rest or ''} end
  if state == 'I' then
    if marked(KEYS[1], rest) then return {'revoked', rest} end
    redis.call('SET', key, value_of('C', epoch, request, rest), 'KEEPTTL')
    not_outstanding(key, KEYS[1], epoch, subject)
    return spent(rest)
  end
-- uses.lua
  if state == 'M' then
    local uses = read_uses(rest)
    local claim, place = claim_of(uses, request)
    if claim and claim.state == 'D' then return {'finished', claim.result, uses.grant} end
    if claim and claim.state == 'C' then return {'spent', uses.grant} end
    if is_revoked(uses, KEYS[1]) then return {'revoked', uses.grant} end
    local now = milliseconds()
    if claim then
      table.remove(uses, place)
    else
      local room, wait = make_room(uses, now)
      if wait then return {'held', math.ceil(wait / 1000), uses.grant} end
      if not room then return {'replayed', uses.grant} end
    end
    claim = {request = request, state = 'L', result = ''}
    uses[#uses + 1] = claim
    if uses.spend == 's' and lease ~= '' then
      claim.till = now + lease * 1000
      write_uses(key, epoch, by .. subject, uses)
      return {'claimed', uses.grant}
    end
    spend_claim(key, KEYS[1], epoch, by .. subject, subject, uses, claim)
    return spent(uses.grant)
  end
  if state == 'R' then return {'revoked', rest} end
  if by ~= request then return {'replayed', rest} end
  if state == 'D' then return {'finished', before, rest} end
  return {'spent', rest}
end

local answers = {}
for number = 1, #KEYS - 1 do
  answers[number] = redeem(KEYS[number + 1], unpack(ARGV, 5 * number - 4, 5 * number))
end
return answers
