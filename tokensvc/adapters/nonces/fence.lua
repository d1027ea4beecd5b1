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
