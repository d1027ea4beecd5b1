-- A record is "<state>:<epoch>:<request>:<rest>":
--   I  issued, by the request that recorded it   rest: the grant
--      If it counts as outstanding, the subject's 22 characters follow the 22 of the request without a sign between.
--   C  spent, by the request that redeemed it    rest: the grant
--   D  done, by the request that redeemed it     rest: the length of the result, it, and the grant
--   R  revoked                                   rest: the length of who revoked it, that, and the grant
--   M  one with uses, by the request that recorded it; rest: see uses.lua. A version of the service that does not know
--      the letter finds no record of its own, and refuses.
-- No script leads from C, D or R back to I. The time of expiry is set once, when the record is made.
-- Returns the four and the subject; nothing if there is no record; for what is no record of ours a state in no epoch.
local function read(key)
  local value = redis.call('GET', key)
  if not value then return nil end
  local state, epoch, request, rest = string.match(value, '^([ICDRM]):([%w_-]+):([%w_-]+):(.*)$')
  if not state then return '?' end
  return state, epoch, string.sub(request, 1, 22), rest, string.sub(request, 23)
end

local function value_of(state, epoch, request, rest)
  return state .. ':' .. epoch .. ':' .. request .. ':' .. rest
end
