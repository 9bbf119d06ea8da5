-- Piece: how a lease is renewed. Needs standing.lua and held.lua.

-- Extends a lease from now for its holder; never shortens it. `ttl` is the wish in ms, or nil.
-- Returns {lease, how the session stands} or the refusal.
local function extend(name, secret, key, ttl)
  local policy = pool.policy
  local standing, refusal = held(name, secret, key)
  if refusal then
    return refusal
  elseif pool.mode == 'Draining' then
    return { 'pool_draining' }
  end
  local lease = standing.lease
  ttl = math.min(math.max(ttl or policy.default_ttl, policy.min_ttl), policy.max_ttl)
  lease.expires_at = math.max(lease.expires_at, math.min(now + ttl, lease.max_expires_at))
  lease.ttl = lease.expires_at - now
  lease.renewals = (lease.renewals or 0) + 1
  redis.call('ZADD', LEASES, text(lease.expires_at), name)
  return { 'lease', write_standing(name, standing) }
end
