-- acquire: leases the least recently used session that matches.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 the ask, packed: {secret, key, purpose, ttl?, session?, request?, digest?, retried?,
--           selector}; see selector.lua for the selector
-- returns {granted, now, 1 if an earlier call with the same request was granted it, what is known
--         of the session, how it stands}
-- refuses pool_not_found · request_id_reused · pool_paused · pool_draining · pool_empty
--         session_not_found · {pool_busy, counts, after, cause} · {pool_depleted, counts}
--         {no_matching_session, counts}
--         recovering: see recall.lua
local pool = read_pool()
if not pool then
  return { 'pool_not_found' }
end
local policy, ask = pool.policy, cmsgpack.unpack(ARGV[1])
local selector = ask.selector
settle(policy.drain)

local function granted(name, standing, before)
  return { 'granted', now, before, redis.call('HGET', SESSION, name), cmsgpack.pack(standing) }
end

local function redeliver(name, standing)
  standing.lease.deliveries = standing.lease.deliveries + 1
  write_standing(name, standing)
  return granted(name, standing, 1)
end

local function grant(name)
  local standing = read_standing(name)
  local ttl = math.min(math.max(ask.ttl or policy.default_ttl, policy.min_ttl), policy.max_ttl)
  unindex(name, standing)
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
  redis.call('ZADD', LEASES, now + ttl, name)
  if ask.request then
    redis.call('HSET', REQUESTS, ask.secret, name, ask.key .. '\0' .. ask.request, name)
  else
    redis.call('HSET', REQUESTS, ask.secret, name)
  end
  write_standing(name, standing)
  return granted(name, standing, 0)
end

-- The soonest release of a session that would do, and whether there is any that would do.
local function next_fit()
  if ask.session then
    if not session_matches(selector, ask.session) then
      return -1, '', false
    end
    local lease = redis.call('ZSCORE', LEASES, ask.session)
    local rest = redis.call('ZSCORE', RESTS, ask.session)
    local after, cause = sooner(tonumber(lease or nil), tonumber(rest or nil))
    return after, cause, true
  elseif #selector == 0 then
    local after, cause = next_release()
    return after, cause, true
  end
  return next_match(selector)
end

if ask.retried then
  local name = redis.call('HGET', REQUESTS, ask.secret)
  local standing = name and settle_session(name, policy.drain)
  if standing and standing.lease and standing.lease.secret == ask.secret then
    -- The same call as before, so no other delivery.
    return granted(name, standing, 0)
  end
end
if ask.request then
  local name = redis.call('HGET', REQUESTS, ask.key .. '\0' .. ask.request)
  if name then
    local standing = settle_session(name, policy.drain)
    if standing.lease and standing.lease.request == ask.request then
      if standing.lease.digest == ask.digest then
        return redeliver(name, standing)
      end
      return { 'request_id_reused' }
    end
  end
end
if (pool.hold_until or 0) > now then
  return { 'recovering' }
elseif pool.mode == 'Paused' then
  return { 'pool_paused' }
elseif pool.mode == 'Draining' then
  return { 'pool_draining' }
end

local name
if ask.session then
  if not session_exists(ask.session) then
    local empty = redis.call('HLEN', SESSION) == 0
    return { empty and 'pool_empty' or 'session_not_found' }
  end
  settle_session(ask.session, policy.drain)
  local free = redis.call('ZSCORE', FREE, ask.session)
  name = free and session_matches(selector, ask.session) and ask.session
elseif #selector == 0 then
  name = redis.call('ZRANGE', FREE, 0, 0)[1]
else
  name = first_free(selector)
end
if name then
  return grant(name)
end
if redis.call('HLEN', SESSION) == 0 then
  return { 'pool_empty' }
end
local after, cause, any = next_fit()
if after >= 0 then
  return { 'pool_busy', counts(policy.drain), after, cause }
end
return { any and 'pool_depleted' or 'no_matching_session', counts(policy.drain) }
