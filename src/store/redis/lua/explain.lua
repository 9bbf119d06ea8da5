-- explain: tells which session an acquire would get now. Leases nothing.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 the ask, packed, as for acquire.lua; what makes it safe to repeat is ignored
-- returns {explained, session}
-- refuses as acquire.lua, but for request_id_reused
if not pool then
  return { 'pool_not_found' }
end
settle()
serve_waiters()
local name, refusal = seldom()(read_ask(ARGV[1]))
return name and { 'explained', name } or refusal
