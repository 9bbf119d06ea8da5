-- renew: extends a lease from now; never shortens it.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session · 2 secret · 3 key · 4 wished TTL in ms, or empty
-- returns {lease, how the session stands}
-- refuses lease_not_found · {lease_lost, cause, epoch, at, detail} · not_holder · pool_draining
if not pool then
  return { 'lease_not_found' }
end
settle()
return extend(ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]))
