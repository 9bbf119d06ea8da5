-- get_session: reads a session.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session
-- returns {session, now, its name, what is known of it, how it stands}
-- refuses pool_not_found · session_not_found
if not pool then
  return { 'pool_not_found' }
elseif not session_exists(ARGV[1]) then
  return { 'session_not_found' }
end
return view(ARGV[1], settle_session(ARGV[1]))
