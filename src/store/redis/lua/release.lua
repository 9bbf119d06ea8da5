-- release: gives a session back. Twice is in order.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session · 2 secret · 3 key · 4 rest in ms; the pool's rest is the least
-- returns {released} or {already_ended}
-- refuses lease_not_found · {lease_lost, cause, epoch, at} · not_holder
local pool = read_pool()
if not pool then
  return { 'lease_not_found' }
end
local name, policy = ARGV[1], pool.policy
local BY_HOLDER = { Released = true, Undone = true, Surrendered = true, Superseded = true }
settle(policy.drain)
local standing, refusal = held(name, ARGV[2], ARGV[3], policy.drain)
if refusal and refusal[1] == 'lease_lost' and BY_HOLDER[refusal[2]] then
  return { 'already_ended' }
elseif refusal then
  return refusal
end
unindex(name, standing)
end_lease(standing, 'Released', now)
rest(standing, now, math.max(tonumber(ARGV[4]), policy.rest))
index(name, standing)
return { 'released' }
