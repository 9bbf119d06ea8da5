-- set_mode: pauses, drains or resumes a pool. Idempotent.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 mode: Active, Paused or Draining · 2 the verb · 3 who does it · 4 why
-- returns {pool, now, record, counts, after, cause, how many wait,
--         for how long the first or -1, in what time one is served or -1, floods of five minutes,
--         brake, ...}
-- refuses pool_not_found
if not pool then
  return { 'pool_not_found' }
end
if pool.mode ~= ARGV[1] then
  pool.mode = ARGV[1]
  pool.updated_at = now
  write_record()
  settlers().note('', ARGV[2], ARGV[3], ARGV[4], now)
  reconsider = pool.mode == 'Active'
end
return pool_view()
