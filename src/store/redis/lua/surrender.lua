-- surrender: takes the session of a lease out of the pool, for its holder. Twice is in order.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session · 2 secret · 3 why, packed: {reason, detail, by}; `by` is the holder's key
-- returns {session, now, its name, what is known of it, how it stands}
-- refuses lease_not_found · {lease_lost, cause, epoch, at, detail} · not_holder
if not pool then
  return { 'lease_not_found' }
end
local name, why = ARGV[1], cmsgpack.unpack(ARGV[3])
settle()
local standing, refusal = held(name, ARGV[2], why.by)
if refusal and refusal[2] ~= 'Surrendered' then
  return refusal
elseif not refusal then
  take_out(name, standing, why, 'Surrendered')
end
return view(name, standing)
