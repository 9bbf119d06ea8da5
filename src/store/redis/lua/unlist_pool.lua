-- unlist_pool: takes the name of a pool that was deleted off the list. Idempotent.
--
-- KEYS    1 pools, ZSET of names, all with score 0
-- ARGV    1 name
-- returns {unlisted}
assert(#KEYS >= 1)
redis.call('ZREM', KEYS[1], ARGV[1])
return { 'unlisted' }
