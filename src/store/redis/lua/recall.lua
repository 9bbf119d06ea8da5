-- recall: sees whether the store still knows a lease that it once acknowledged. If not, it has lost
-- its last moments, and no grant of the pool is made until every lease that may have been lost
-- with them is over and has drained.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session · 2 epoch of the lease · 3 its acknowledged expiry
-- returns {recalled, known | lost}
-- refuses pool_not_found
local pool = read_pool()
if not pool then
  return { 'pool_not_found' }
end
local epoch, expiry = tonumber(ARGV[2]), tonumber(ARGV[3])
local standing = read_standing(ARGV[1])
local lease = standing.lease
-- A session that is gone was removed after its lease, if the removal is known, and lost if not.
local newest = session_exists(ARGV[1]) and standing.epoch or pool.past_epoch or 0
local shorter = newest == epoch and lease and lease.expires_at < expiry
if newest < epoch or shorter then
  pool.hold_until = math.max(pool.hold_until or 0, now + pool.policy.max_ttl + pool.policy.drain)
  redis.call('SET', META, cmsgpack.pack(pool))
  return { 'recalled', 'lost' }
end
return { 'recalled', 'known' }
