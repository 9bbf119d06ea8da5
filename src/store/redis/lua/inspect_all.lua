-- inspect_all: tells of leases of a pool whether a key still holds them. Extends none.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 key · then session and secret of each lease, at most 256 of them
-- returns {each, answer, ...}, where an answer is {lease, how the session stands, with what is left
--         of the lease as its TTL} · lease_not_found · {lease_lost, cause, epoch, at} · not_holder
return each_lease(2, 2, function(at)
  local standing, refusal = held(ARGV[at], ARGV[at + 1], ARGV[1])
  if refusal then
    return refusal
  end
  standing.lease.ttl = standing.lease.expires_at - now
  return { 'lease', pack_standing(standing) }
end)
