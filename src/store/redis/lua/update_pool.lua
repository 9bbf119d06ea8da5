-- update_pool: changes a pool's policy, as the broker has made it of the one that it was told.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 SHA-1 of the record from which the broker made the policy; empty to be told the record
--         2 policy, packed; empty where it is as it was · 3 who does it
--         4 what is another, and why
-- returns {pool, now, record, counts, after, cause, how many wait,
--         for how long the first or -1, in what time one is served or -1, floods of five minutes,
--         brake, ...}
--         {stale, record} where the record is another by now
-- refuses pool_not_found
if not pool then
  return { 'pool_not_found' }
end
local shown = shown_record()
if redis.sha1hex(shown) ~= ARGV[1] then
  return { 'stale', shown }
end
-- What is due is due by the policy under which it became so.
settle()
if ARGV[2] ~= '' then
  keep_policy(cmsgpack.unpack(ARGV[2]))
  pool.updated_at = now
  write_record()
  settlers().note('', 'update', ARGV[3], ARGV[4], now)
end
return pool_view()
