-- tend: does what is due and offers everything that is free to everybody that waits.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    none
-- returns {tended, in how long the next thing is due, or -1 when nobody waits}
-- refuses pool_not_found
if not pool then
  return { 'pool_not_found' }
end
settle()
reconsider = true
serve_waiters()
return { 'tended', next_due() }
