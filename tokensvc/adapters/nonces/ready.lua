#!lua
-- Says whether record and redeem would work now. No flag, as in record: a full store, a replica and a store that
-- cannot write its file refuse to run it.
-- KEYS: epoch record. Answers {ready, Unix seconds by this server's clock} | {evicting | fenced | hidden}.
-- fence.lua
local epoch, why = fence(KEYS[1])
if not epoch then return {why} end
local policy = string.match(redis.call('INFO', 'memory'), 'maxmemory_policy:(%S+)')
if policy and policy ~= 'noeviction' then return {'evicting'} end
return {'ready', redis.call('TIME')[1]}
