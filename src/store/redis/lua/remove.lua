-- remove: removes a session that nobody holds or may still be connected with.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session · 2 who does it · 3 why, for the pool's trail, or empty
-- returns {removed, its fingerprint, its claim}
-- refuses pool_not_found · session_not_found · {inappropriate_state, state}
--         recovering: see recall.lua; a session that looks free may be in use
if not pool then
  return { 'pool_not_found' }
end
local name = ARGV[1]
settle()
local known = redis.call('HGET', SESSION, name)
if not known then
  return { 'session_not_found' }
end
local standing = settle_session(name)
if standing.rest_until > now then
  return { 'inappropriate_state', 'Resting' }
elseif standing.lease then
  return { 'inappropriate_state', 'Leased' }
elseif (pool.hold_until or 0) > now then
  return { 'recovering' }
end
index_narrow(name, unindex(name, standing) or {}, {})
redis.call('HDEL', SESSION, name)
redis.call('HDEL', STANDING, name)
redis.call('HDEL', TRAIL, name)
redis.call('ZREM', INDEX, '\0' .. name)
for label in string.gmatch(standing.labels or '', '[^\n]+') do
  redis.call('ZREM', INDEX, label .. '\0' .. name)
end
local claim, fingerprint, account = string.match(known, '^%d+ (%S+) ([^ %z]+) ?([^ %z]*)%z')
redis.call('ZREM', ACCOUNTS, account .. '\0' .. name)
if standing.epoch > (pool.past_epoch or 0) then
  pool.past_epoch = standing.epoch
  write_record()
end
if ARGV[3] ~= '' then
  settlers().note('', 'remove', ARGV[2], name .. ': ' .. ARGV[3], now)
end
return { 'removed', fingerprint, claim }
