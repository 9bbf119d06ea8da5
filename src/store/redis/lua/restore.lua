-- restore: brings an INVALID session back, and trusts a SUSPECT one. A drain or cool-down that
-- still runs is waited out.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session · 2 who does it · 3 why
-- returns {session, now, its name, what is known of it, how it stands}
-- refuses pool_not_found · session_not_found · {inappropriate_state, state}
if not pool then
  return { 'pool_not_found' }
end
local name = ARGV[1]
settle()
if not session_exists(name) then
  return { 'session_not_found' }
end
local standing = settle_session(name)
local is = state(standing)
if is ~= 'Invalid' and is ~= 'Suspect' then
  return { 'inappropriate_state', is }
end
local before = unindex(name, standing)
standing.invalid, standing.suspect = nil, nil
settlers().drop_past(standing, false)
index(name, standing, before)
settlers().note(name, 'restore', ARGV[2], ARGV[3], now)
return view(name, settle_session(name))
