-- Put after the first line of every script, so that the check of the fence and the deed are one step on one server.

-- The epoch record says which server it was written for: "<master_replid>:<epoch>". That id changes when a server
-- starts and when a replica is promoted, and it is asked of the server that executes this: no pool, proxy or
-- redirect can answer for another.
-- Returns the epoch; or nothing, the word for why not, this server's id, and the epoch that is not bound to it.
local function fence(epoch_key)
  local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  if not replid then return nil, 'hidden' end
  local bound, epoch = string.match(redis.call('GET', epoch_key) or '', '^(%x+):([%w_-]+)$')
  if bound == replid then return epoch end
  return nil, 'fenced', replid, epoch
end

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

-- The record of a nonce that is just issued. `uses` is empty for one use that the first attempt spends.
local function issued(epoch, owner, uses, grant)
  if uses == '' then return value_of('I', epoch, owner, grant) end
  return value_of('M', epoch, owner, uses .. ',0,:' .. grant)
end

-- A subject's counts are beside the records: its id is in a record or an argument, so the key is made up here.
local function quota_key(epoch_key, subject, what)
  return string.sub(epoch_key, 1, -2) .. 'q:' .. subject .. ':' .. what
end

-- Lets a set of counts live until all in it has ended. One that was there before has a time, which is only put off:
-- what changes nothing is not written to the file.
local function keep(key, entries_before, ends)
  if entries_before == 0 then
    redis.call('EXPIREAT', key, ends)
  else
    redis.call('EXPIREAT', key, ends, 'GT')
  end
end

-- What is spent or revoked is not outstanding. That the count cannot be changed is no reason to refuse: it ends anyway.
local function not_outstanding(key, epoch_key, epoch, subject)
  if subject ~= '' then redis.pcall('ZREM', quota_key(epoch_key, subject, 'o:' .. epoch), string.sub(key, -22)) end
end

-- A watermark holds the second before which it revokes. The key that the names begin with is there as long as the
-- bucket has any of them, so that a bucket without costs one look. They outlast an epoch, and mean the same in the next.
local function mark_key(epoch_key, scope, source, name)
  return string.sub(epoch_key, 1, -2) .. 'w:' .. redis.sha1hex(scope .. '\0' .. source .. '\0' .. name)
end

local function has_marks(epoch_key)
  return redis.call('GET', string.sub(epoch_key, 1, -2) .. 'w')
end

local function is_before(epoch_key, second, scope, source, name)
  return second < tonumber(redis.call('GET', mark_key(epoch_key, scope, source, name)) or 0)
end

-- Whether a watermark revokes what this grant is of: its text is a GrantNote's.
local function marked(epoch_key, grant)
  if not has_marks(epoch_key) then return false end
  local is_json, note = pcall(cjson.decode, grant)
  if not is_json or type(note) ~= 'table' or not note.issued_at then return false end
  local function before(scope, source, name) return is_before(epoch_key, note.issued_at, scope, source, name) end
  return before('account', '', note.account) or before('profile', '', note.profile)
    or before('subject', '', note.subject) or before('subject', note.source, note.subject)
end

-- The same for one on no record, of which only its account is known; an empty one is none.
local function marked_elsewhere(epoch_key, account, second)
  if account == '' or not has_marks(epoch_key) then return false end
  return is_before(epoch_key, tonumber(second), 'account', '', account)
end
