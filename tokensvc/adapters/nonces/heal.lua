#!lua flags=allow-oom
-- Binds the epoch record to the server that executes this, unless it is already: of many that heal at once, one does.
-- KEYS: epoch record. ARGV: initialise | rotate | rebind | renew, a new epoch, and to renew the one that has to end.
--   initialise  only where there is no record yet
--   rotate      a new epoch: every outstanding nonce is refused as stale from now on
--   rebind      the old epoch, when it is certain that this server lost nothing; a new one if there is none
--   renew       as rotate, and also where the record is bound, if it is that epoch still
-- Answers {bound | written | fenced | hidden, epoch}.
-- fence.lua
local epoch, why, replid, old = fence(KEYS[1])
if epoch and (ARGV[1] ~= 'renew' or epoch ~= ARGV[3]) then return {'bound', epoch} end
if epoch then replid = string.match(redis.call('GET', KEYS[1]), '^%x+') end
if why == 'hidden' then return {why} end
if ARGV[1] == 'initialise' and redis.call('GET', KEYS[1]) then return {why, old or ''} end
local new = ARGV[2]
if ARGV[1] == 'rebind' and old then new = old end
redis.call('SET', KEYS[1], replid .. ':' .. new)
return {'written', new}
