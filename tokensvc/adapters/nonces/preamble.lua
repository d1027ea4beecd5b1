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
--   D  done, by the request that redeemed it     rest: the result
--   R  revoked                                   rest: who revoked it
-- No script leads from C, D or R back to I. The time of expiry is set once, when the record is made.
-- Returns the four and the subject; nothing if there is no record; for what is no record of ours a state in no epoch.
local function read(key)
  local value = redis.call('GET', key)
  if not value then return nil end
  local state, epoch, request, rest = string.match(value, '^([ICDR]):([%w_-]+):([%w_-]+):(.*)$')
  if not state then return '?' end
  return state, epoch, string.sub(request, 1, 22), rest, string.sub(request, 23)
end

local function value_of(state, epoch, request, rest)
  return state .. ':' .. epoch .. ':' .. request .. ':' .. rest
end

-- A subject's counts are beside the records: its id is in a record or an argument, so the key is made up here.
local function quota_key(epoch_key, subject, what)
  return string.sub(epoch_key, 1, -2) .. 'q:' .. subject .. ':' .. what
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

-- Whether a watermark revokes what was granted so; or, without a grant, what an account issued at that second.
local function marked(epoch_key, account, issued_at, grant)
  if not redis.call('GET', string.sub(epoch_key, 1, -2) .. 'w') then return false end
  local is_note, note = pcall(cjson.decode, grant)
  if not (is_note and type(note) == 'table' and note.issued_at) then note = nil end
  local second = note and note.issued_at or tonumber(issued_at)
  local function after(scope, source, name)
    return second < tonumber(redis.call('GET', mark_key(epoch_key, scope, source, name)) or 0)
  end
  if account ~= '' and after('account', '', account) then return true end
  return note and (after('profile', '', note.profile) or after('subject', '', note.subject)
    or after('subject', note.source, note.subject))
end
