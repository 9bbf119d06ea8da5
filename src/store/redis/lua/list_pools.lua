-- list_pools: the names of pools, in order. A name may be listed before its pool exists.
--
-- KEYS    1 pools, ZSET of names, all with score 0
-- ARGV    1 the name to start after, or empty · 2 how many at most
-- returns {names, name, ...}
assert(#KEYS >= 1)
local from = ARGV[1] == '' and '-' or '(' .. ARGV[1]
return { 'names', unpack(redis.call('ZRANGEBYLEX', KEYS[1], from, '+', 'LIMIT', 0, ARGV[2])) }
