-- Piece: leasing a session. Needs standing.lua and settle.lua.

-- Leases a session as asked. With a span to collect it in, it is handed over: its lease ends after
-- that unless it is collected, and begins in earnest when it is. A session that is out has left
-- FREE already. Gives how the session then stands, packed.
local function grant(ask, name, collect_within, is_out)
  local policy, standing = pool.policy, read_standing(name)
  local ttl = math.min(math.max(ask.ttl or policy.default_ttl, policy.min_ttl), policy.max_ttl)
  local before = unindex(name, standing, is_out)
  -- Counted from the clock, so that it rises even when the store has lost the newest grants.
  standing.epoch = math.max(standing.epoch + 1, now)
  standing.lease = {
    secret = ask.secret,
    epoch = standing.epoch,
    key = ask.key,
    purpose = ask.purpose,
    request = ask.request,
    digest = ask.digest,
    granted_at = now,
    expires_at = now + (collect_within or ttl),
    max_expires_at = now + policy.max_lifetime,
    ttl = ttl,
    deliveries = collect_within and 0 or 1,
  }
  return index(name, standing, before)
end

-- Takes what was handed to a waiter into its hands: only now the lease begins in earnest. Gives how
-- the session then stands, packed, if it had to be taken.
local function collect(name, standing)
  local lease = standing.lease
  if lease.deliveries > 0 then
    return nil
  end
  local before = unindex(name, standing)
  lease.deliveries = 1
  lease.granted_at = now
  lease.expires_at = now + lease.ttl
  lease.max_expires_at = now + pool.policy.max_lifetime
  return index(name, standing, before)
end
