-- create_pool: makes an empty pool.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 name · 2 policy, packed · 3 a name of this call, by which a repetition is known
-- returns {pool, now, record, counts, after, cause}
-- refuses pool_exists
local pool = read_pool()
if pool and pool.created_by ~= ARGV[3] then
  return { 'pool_exists' }
elseif not pool then
  pool = {
    name = ARGV[1],
    policy = cmsgpack.unpack(ARGV[2]),
    mode = 'Active',
    created_at = now,
    updated_at = now,
    created_by = ARGV[3],
  }
  redis.call('SET', META, cmsgpack.pack(pool))
end
return pool_view(pool)
