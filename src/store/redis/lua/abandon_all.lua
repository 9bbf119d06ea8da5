-- abandon_all: gives sessions back for a holder that has vanished, each unless its lease has been
-- taken up since it was marked. The sessions drain: their holder may still be connected.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 key · then session, secret, renewals and deliveries of each lease as it was marked, at
--         most 256 of them
-- returns {each, answer, ...}, where an answer is {abandoned, 1 if it was given back}
--         lease_not_found · {lease_lost, cause, epoch, at} · not_holder
return each_lease(2, 4, function(at)
  local name, policy = ARGV[at], pool.policy
  local standing, refusal = held(name, ARGV[at + 1], ARGV[1])
  if refusal then
    return refusal
  end
  local lease = standing.lease
  local renewals, deliveries = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  if (lease.renewals or 0) ~= renewals or lease.deliveries ~= deliveries then
    return { 'abandoned', 0 }
  end
  local before = unindex(name, standing)
  end_lease(standing, 'Released', now)
  rest(standing, now, math.max(policy.rest, policy.drain))
  index(name, standing, before)
  return { 'abandoned', 1 }
end)
