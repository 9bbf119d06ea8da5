-- report: takes note of an error of Telegram that was met under a lease.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session · 2 secret · 3 key · 4 the error, packed (effect.lua)
-- returns {reported, now, what it did, packed: {ends?, fired?, account?, breach?, state}}
-- refuses lease_not_found · {lease_lost, cause, epoch, at} · not_holder
if not pool then
  return { 'lease_not_found' }
end
settle()
local effect, refusal = seldom().report(ARGV[1], ARGV[2], ARGV[3], cmsgpack.unpack(ARGV[4]))
return effect and { 'reported', now, cmsgpack.pack(effect) } or refusal
