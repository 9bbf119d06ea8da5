-- history: reads what was done to a session, or to the pool itself, newest first. The trail of a
-- deleted pool stays for a while (delete_pool.lua).
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session, or empty for the pool · 2 the number of the event to start before, or empty
--         3 how many at most
-- returns {events, event, ...}, each a row: number, at, verb, by?, detail
-- refuses pool_not_found · session_not_found
local name = ARGV[1]
if name == '' then
  if not pool and redis.call('HEXISTS', TRAIL, '') == 0 then
    return { 'pool_not_found' }
  end
elseif not pool then
  return { 'pool_not_found' }
elseif not session_exists(name) then
  return { 'session_not_found' }
else
  settle_session(name)
end
local trail = settlers()
local _, events = trail.read_trail(name)
local kept, from = {}, 0
while from < #events do
  local to = trail.end_of_event(events, from)
  kept[#kept + 1] = string.sub(events, from + 1, to)
  from = to
end
local before, most = tonumber(ARGV[2]) or math.huge, tonumber(ARGV[3])
local answer = { 'events' }
for i = #kept, 1, -1 do
  local _, number = cmsgpack.unpack_one(kept[i])
  if number < before and #answer <= most then
    answer[#answer + 1] = kept[i]
  end
end
return answer
