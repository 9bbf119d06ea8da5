-- get_pool: reads a pool and how it stands.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    none
-- returns {pool, now, record, counts, after, cause}
-- refuses pool_not_found
local pool = read_pool()
if not pool then
  return { 'pool_not_found' }
end
return pool_view(pool)
