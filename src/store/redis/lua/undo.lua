-- undo: takes back a grant that could not be delivered, unless another call was given it too: its
-- caller may have it by that one.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session, empty where only the secret is known · 2 secret · 3 the delivery that failed
-- returns {undone, 1 if this call did it, 1 if this or an earlier call did it}
if not pool then
  return { 'undone', 0, 0 }
end
local name, secret, delivery = ARGV[1], ARGV[2], tonumber(ARGV[3])
settle()
if name == '' then
  name = redis.call('HGET', REQUESTS, secret)
end
if not name then
  return { 'undone', 0, 0 }
end
local standing = settle_session(name)
local lease, ended = standing.lease, last_end(standing)
if lease and lease.secret == secret and lease.deliveries == 1 and delivery == 1 then
  local before = unindex(name, standing)
  end_lease(standing, 'Undone', now)
  index(name, standing, before)
  return { 'undone', 1, 1 }
end
local before = ended and ended.secret == secret and ended.cause == 'Undone'
return { 'undone', 0, before and 1 or 0 }
