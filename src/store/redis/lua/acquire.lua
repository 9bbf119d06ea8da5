-- acquire: leases the least recently used session that matches.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 the ask, packed: {secret, key, purpose, ttl?, session?, request?, digest?, retried?,
--           selector, scopes?, probe}; see choose.lua
-- returns {granted, now, 1 if an earlier call with the same request was granted it, what is known
--         of the session, how it stands}
-- refuses pool_not_found · request_id_reused · pool_paused · pool_draining · pool_empty
--         session_not_found · {pool_busy | pool_flood_wait, counts, after, cause}
--         {pool_depleted, counts} · {no_matching_session, counts}
--         recovering: see recall.lua
if not pool then
  return { 'pool_not_found' }
end
local policy, ask = pool.policy, cmsgpack.unpack(ARGV[1])
settle()

local function granted(name, standing, before)
  return { 'granted', now, before, redis.call('HGET', SESSION, name), cmsgpack.pack(standing) }
end

if ask.retried then
  local name = redis.call('HGET', REQUESTS, ask.secret)
  local standing = name and settle_session(name)
  if standing and standing.lease and standing.lease.secret == ask.secret then
    -- The same call as before, so no other delivery.
    return granted(name, standing, 0)
  end
end
if ask.request then
  local name = redis.call('HGET', REQUESTS, ask.key .. '\0' .. ask.request)
  local standing = name and settle_session(name)
  local lease = standing and standing.lease
  if lease and lease.request == ask.request then
    if lease.digest ~= ask.digest then
      return { 'request_id_reused' }
    end
    lease.deliveries = lease.deliveries + 1
    write_standing(name, standing)
    return granted(name, standing, 1)
  end
end

local name
local is_picky = ask.session or ask.selector[1] or ask.scopes or ask.probe
if not is_picky and pool.mode == 'Active' and (pool.hold_until or 0) <= now then
  -- What choose() comes to for an ask that any session would do for.
  name = redis.call('ZRANGE', FREE, '0', '0')[1]
end
if not name then
  local chosen, refusal = seldom()(ask)
  if not chosen then
    return refusal
  end
  name = chosen
end
local standing = read_standing(name)
local before = unindex(name, standing)
local ttl = math.min(math.max(ask.ttl or policy.default_ttl, policy.min_ttl), policy.max_ttl)
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
  expires_at = now + ttl,
  max_expires_at = now + policy.max_lifetime,
  ttl = ttl,
  deliveries = 1,
}
index(name, standing, before)
return granted(name, standing, 0)
