-- release: gives a session back, and takes note of the error that ended the work, if one did.
-- Twice is in order.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session · 2 secret · 3 key · 4 rest in ms; the pool's rest is the least
--         5 the error, packed (effect.lua), or empty
-- returns {released} or {already_ended}; with an error that was taken note of, now and what it did
--         (report.lua) behind that
-- refuses lease_not_found · {lease_lost, cause, epoch, at, detail} · not_holder
local BY_HOLDER = { Released = true, Undone = true, Surrendered = true, Superseded = true }
if not pool then
  return { 'lease_not_found' }
end
local name, secret, key = ARGV[1], ARGV[2], ARGV[3]
settle()
local effect
if ARGV[5] ~= '' then
  effect = seldom().report(name, secret, key, cmsgpack.unpack(ARGV[5]))
end
local standing, refusal = held(name, secret, key)
local answer = { 'released' }
if not refusal then
  local before, suspect = unindex(name, standing), standing.suspect
  if not effect and suspect and standing.lease.epoch > suspect.epoch then
    -- A probe that met no error.
    standing.suspect = nil
  end
  end_lease(standing, 'Released', now)
  rest(standing, now, math.max(tonumber(ARGV[4]), pool.policy.rest))
  index(name, standing, before)
elseif refusal[1] == 'lease_lost' and BY_HOLDER[refusal[2]] then
  answer = { 'already_ended' }
else
  return refusal
end
if effect then
  answer[2], answer[3] = now, cmsgpack.pack(effect)
end
return answer
