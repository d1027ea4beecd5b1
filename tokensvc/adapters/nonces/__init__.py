"""The nonce store over Redis 7.0 or later, or Valkey: a Lua file a verb, and one typed caller for all.

A record is a positive one: what is not there is refused. So a flushed, evicted or restarted store refuses
credentials that were good, and clients fetch others; it never lets one through twice. The other way to spend
twice is a store that went back in time (an old copy, a replica that lagged): the fence tells such a server
from the one that made the record.
"""
