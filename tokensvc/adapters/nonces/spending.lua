-- quotas.lua

-- What is spent or revoked is not outstanding. That the count cannot be changed is no reason to refuse: it ends anyway.
local function not_outstanding(key, epoch_key, epoch, subject)
  if subject ~= '' then redis.pcall('ZREM', quota_key(epoch_key, subject, 'o:' .. epoch), string.sub(key, -22)) end
end
