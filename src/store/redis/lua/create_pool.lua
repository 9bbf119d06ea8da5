-- create_pool: makes an empty pool.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 name · 2 policy, packed · 3 a name of this call, by which a repetition is known
--         4 the expiry of a lease that was acknowledged in a pool of this name, or empty: a server
--         that has forgotten the pool holds its grants until such leases are over (recall.lua)
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
  if ARGV[4] ~= '' then
    pool.hold_until = math.max(now + pool.policy.max_ttl, tonumber(ARGV[4])) + pool.policy.drain
  end
  redis.call('SET', META, cmsgpack.pack(pool))
end
return pool_view(pool)
