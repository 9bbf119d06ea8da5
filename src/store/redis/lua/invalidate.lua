-- invalidate: takes a session out of the pool by name. The first reason stays. A lease that this
-- ends drains.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session · 2 why, packed: {reason, detail, by}
-- returns {session, now, its name, what is known of it, how it stands}
-- refuses pool_not_found · session_not_found
if not pool then
  return { 'pool_not_found' }
end
local name, why = ARGV[1], cmsgpack.unpack(ARGV[2])
settle()
if not session_exists(name) then
  return { 'session_not_found' }
end
local standing = settle_session(name)
if not standing.invalid then
  take_out(name, standing, why, 'Invalidated')
end
return view(name, standing)
