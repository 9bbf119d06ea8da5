-- get_pool: reads a pool and how it stands.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    none
-- returns {pool, now, record, counts, after, cause, how many wait,
--         for how long the first or -1, in what time one is served or -1, floods of five minutes,
--         brake, ...}
-- refuses pool_not_found
if not pool then
  return { 'pool_not_found' }
end
return pool_view()
