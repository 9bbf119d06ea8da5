-- create_pool: makes an empty pool.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 name · 2 policy, packed · 3 a name of this call, by which a repetition is known
--         4 the latest expiry of a lease that was acknowledged in a pool of this name, or empty
--         5 when the newest of these leases was granted or renewed · 6 who does it · 7 why
-- returns {pool, now, record, counts, after, cause, how many wait,
--         for how long the first or -1, in what time one is served or -1, floods of five minutes,
--         brake, ...}
-- refuses pool_exists
--
-- A server that knows nothing of a pool in which leases were acknowledged, or only of its deletion
-- before them, has forgotten it, and holds its grants until such leases are over (recall.lua).
if pool and pool.created_by ~= ARGV[3] then
  return { 'pool_exists' }
elseif not pool then
  past = past or { deleted_at = 0, past_epoch = 0 }
  pool = {
    name = ARGV[1],
    mode = 'Active',
    created_at = now,
    updated_at = now,
    created_by = ARGV[3],
    past_epoch = past.past_epoch,
  }
  keep_policy(cmsgpack.unpack(ARGV[2]))
  if ARGV[4] ~= '' and tonumber(ARGV[5]) > past.deleted_at then
    pool.hold_until = math.max(now + pool.policy.max_ttl, tonumber(ARGV[4])) + pool.policy.drain
  end
  write_record()
  redis.call('PERSIST', TRAIL)
  settlers().note('', 'create', ARGV[6], ARGV[7], now)
end
return pool_view()
