-- delete_pool: deletes a pool without sessions.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 a name of this call, by which a repetition is known · 2 who does it · 3 why
-- returns {deleted}
-- refuses pool_not_found · {pool_not_empty, how many sessions} · recovering
--
-- Its record stays for a while as {deleted_at, past_epoch, deleted_by}, and so does its trail: a
-- pool of the same name begins with its past epoch, and a broker that remembers its leases does not
-- miss them.

-- How long the record stays, in ms; by then the clock is past every epoch.
local REMEMBERED = 30 * 24 * 3600 * 1000

if not pool then
  if past and past.deleted_by == ARGV[1] then
    return { 'deleted' }
  end
  return { 'pool_not_found' }
end
local total = redis.call('HLEN', SESSION)
if total > 0 then
  return { 'pool_not_empty', total }
elseif (pool.hold_until or 0) > now then
  return { 'recovering' }
end
past = { deleted_at = now, past_epoch = pool.past_epoch or 0, deleted_by = ARGV[1] }
local trail = redis.call('HGET', TRAIL, '')
local prefix = string.sub(META, 1, -#'meta' - 1)
for _, key in ipairs(KEYS) do
  if string.sub(key, 1, #prefix) == prefix then
    redis.call('DEL', key)
  end
end
-- The row that every record begins with (write_record in standing.lua), of no use to anybody.
local row = cmsgpack.pack('Deleted', 0, 0, 0, 0, 0, 0)
redis.call('SET', META, row .. cmsgpack.pack(past), 'PX', REMEMBERED)
if trail then
  redis.call('HSET', TRAIL, '', trail)
end
settlers().note('', 'delete', ARGV[2], ARGV[3], now)
redis.call('PEXPIRE', TRAIL, REMEMBERED)
return { 'deleted' }
