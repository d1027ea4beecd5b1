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
