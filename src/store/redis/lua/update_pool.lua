-- update_pool: changes a pool's policy, as the broker has made it of the one that it was told.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 SHA-1 of the record from which the broker made the policy; empty to be told the record
--         2 policy, packed; empty where it is as it was
-- returns {pool, now, record, counts, after, cause}
--         {stale, record} where the record is another by now
-- refuses pool_not_found
local packed = redis.call('GET', META)
local pool = read_pool()
if not pool then
  return { 'pool_not_found' }
elseif redis.sha1hex(packed) ~= ARGV[1] then
  return { 'stale', packed }
end
-- What is due is due by the policy under which it became so.
settle(pool.policy.drain)
if ARGV[2] ~= '' then
  pool.policy = cmsgpack.unpack(ARGV[2])
  pool.updated_at = now
  redis.call('SET', META, cmsgpack.pack(pool))
end
return pool_view(pool)
