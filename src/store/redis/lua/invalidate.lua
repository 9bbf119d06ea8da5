-- invalidate: takes a session out of the pool by name. The first reason stays. A lease that this
-- ends drains.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session · 2 why, packed: {reason, detail, by}
-- returns {session, now, what is known of it, how it stands}
-- refuses pool_not_found · session_not_found
local pool = read_pool()
if not pool then
  return { 'pool_not_found' }
end
local name, why, drain = ARGV[1], cmsgpack.unpack(ARGV[2]), pool.policy.drain
settle(drain)
if not session_exists(name) then
  return { 'session_not_found' }
end
local standing = settle_session(name, drain)
if not standing.invalid then
  unindex(name, standing)
  if standing.lease then
    end_lease(standing, 'Invalidated', now)
    rest(standing, now, drain)
  end
  why.at = now
  standing.invalid = why
  index(name, standing)
end
return view(name, standing)
