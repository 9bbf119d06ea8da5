-- list_pool: lists the name of a pool that is about to be made. Idempotent.
--
-- KEYS    1 pools, ZSET of names, all with score 0
-- ARGV    1 name
-- returns {listed}
assert(#KEYS >= 1)
redis.call('ZADD', KEYS[1], 0, ARGV[1])
return { 'listed' }
