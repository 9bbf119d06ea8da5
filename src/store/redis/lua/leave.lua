-- leave: takes a waiter whose caller has gone out of the line, or keeps its place for a while. What
-- it was handed meanwhile is taken back. Idempotent.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 ticket · 2 secret of the lease that it would have got · 3 for how long in ms its
--         place is kept, if it named its request
-- returns {left}
if not pool then
  return { 'left' }
end
settle()
local waiter = read_waiter(ARGV[1])
if waiter then
  local grace = tonumber(ARGV[3])
  part(waiter)
  if grace > 0 and waiter.request then
    waiter.absent = true
    waiter.deadline = math.min(waiter.deadline, now + grace)
    join(waiter)
  end
  return { 'left' }
end
local name = redis.call('HGET', REQUESTS, ARGV[2])
local standing = name and read_standing(name)
if standing and standing.lease and standing.lease.secret == ARGV[2] then
  if standing.lease.deliveries == 0 then
    local before = unindex(name, standing)
    end_lease(standing, 'Undone', now)
    index(name, standing, before)
  end
end
return { 'left' }
