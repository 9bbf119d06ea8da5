-- afflict: does to the sessions of an account what an error did to one of them in another pool.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 account · 2 key of who reported it · 3 the error, packed (effect.lua)
-- returns {afflicted, how many sessions it concerns}
-- refuses pool_not_found
if not pool then
  return { 'pool_not_found' }
end
settle()
return { 'afflicted', seldom().afflict(ARGV[1], cmsgpack.unpack(ARGV[3]), ARGV[2]) }
