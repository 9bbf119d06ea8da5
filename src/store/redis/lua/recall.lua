-- recall: sees whether the store still knows a lease that it once acknowledged. If not, it has lost
-- its last moments, and no grant of the pool is made until every lease that may have been lost
-- with them is over and has drained.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session · 2 epoch of the lease · 3 its acknowledged expiry
--         4 the latest acknowledged expiry of a lease of the pool
-- returns {recalled, known | lost}
-- refuses pool_not_found
local epoch, expiry = tonumber(ARGV[2]), tonumber(ARGV[3])
if not pool then
  -- A pool is deleted when its leases are over.
  if past and past.past_epoch >= epoch then
    return { 'recalled', 'known' }
  end
  return { 'pool_not_found' }
end
local standing = read_standing(ARGV[1])
local lease = standing.lease
-- A session that is gone was removed after its lease, if the removal is known, and lost if not.
local newest = session_exists(ARGV[1]) and standing.epoch or pool.past_epoch or 0
local shorter = newest == epoch and lease and lease.expires_at < expiry
if newest < epoch or shorter then
  -- A policy that allowed more may be lost too, so what was acknowledged counts beside the policy.
  local last = math.max(now + pool.policy.max_ttl, tonumber(ARGV[4]))
  pool.hold_until = math.max(pool.hold_until or 0, last + pool.policy.drain)
  write_record()
  return { 'recalled', 'lost' }
end
return { 'recalled', 'known' }
