-- restore: brings an INVALID session back. A drain that still runs is waited out.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session
-- returns {session, now, what is known of it, how it stands}
-- refuses pool_not_found · session_not_found · {inappropriate_state, state}
local pool = read_pool()
if not pool then
  return { 'pool_not_found' }
end
local name, drain = ARGV[1], pool.policy.drain
settle(drain)
if not session_exists(name) then
  return { 'session_not_found' }
end
local standing = settle_session(name, drain)
if not standing.invalid then
  local resting = standing.rest_until > now
  return { 'inappropriate_state', standing.lease and 'Leased' or resting and 'Resting' or 'Ready' }
end
standing.invalid = nil
if standing.rest_until <= now then
  standing.rest_until = 0
end
index(name, standing)
return view(name, standing)
