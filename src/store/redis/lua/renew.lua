-- renew: extends a lease from now; never shortens it.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session · 2 secret · 3 key · 4 wished TTL in ms, or empty
-- returns {lease, how the session stands}
-- refuses lease_not_found · {lease_lost, cause, epoch, at} · not_holder · pool_draining
if not pool then
  return { 'lease_not_found' }
end
local name, policy = ARGV[1], pool.policy
settle()
local standing, refusal = held(name, ARGV[2], ARGV[3])
if refusal then
  return refusal
elseif pool.mode == 'Draining' then
  return { 'pool_draining' }
end
local lease = standing.lease
local ttl = tonumber(ARGV[4]) or policy.default_ttl
ttl = math.min(math.max(ttl, policy.min_ttl), policy.max_ttl)
lease.expires_at = math.max(lease.expires_at, math.min(now + ttl, lease.max_expires_at))
lease.ttl = lease.expires_at - now
redis.call('ZADD', LEASES, lease.expires_at, name)
write_standing(name, standing)
return { 'lease', cmsgpack.pack(standing) }
