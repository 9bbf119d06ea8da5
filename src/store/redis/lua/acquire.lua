-- acquire: leases the least recently used session that matches.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 the ask, packed: {secret, key, purpose, ttl?, session?, request?, digest?, retried?,
--           selector, scopes?, probe?}; see choose.lua
-- returns {granted, now, 1 if an earlier call with the same request was granted it, what is known
--         of the session, how it stands}
-- refuses pool_not_found · request_id_reused · pool_paused · pool_draining · pool_empty
--         session_not_found
--         {pool_busy | pool_flood_wait, counts, after, cause, how many wait, for how long the first
--         or -1, in what time one is served or -1}
--         {pool_depleted, counts} · {no_matching_session, counts}
--         recovering: see recall.lua
if not pool then
  return { 'pool_not_found' }
end
settle()
serve_waiters()
return lend(read_ask(ARGV[1]), seldom)
