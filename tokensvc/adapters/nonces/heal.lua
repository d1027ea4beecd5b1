#!lua flags=allow-oom
-- Binds the epoch record to the server that executes this, unless it is already: of many that heal at once, one does.
-- KEYS: epoch record. ARGV: initialise | rotate | rebind, a new epoch.
--   initialise  only where there is no record yet
--   rotate      a new epoch: every outstanding nonce is refused as stale from now on
--   rebind      the old epoch, when it is certain that this server lost nothing; a new one if there is none
-- Answers {bound | written | fenced | hidden, epoch}.
local epoch, why, replid, old = fence(KEYS[1])
if epoch then return {'bound', epoch} end
if why == 'hidden' then return {why} end
if ARGV[1] == 'initialise' and redis.call('GET', KEYS[1]) then return {why, old or ''} end
local new = ARGV[2]
if ARGV[1] == 'rebind' and old then new = old end
redis.call('SET', KEYS[1], replid .. ':' .. new)
return {'written', new}
