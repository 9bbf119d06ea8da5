-- history: reads what was done to a session, newest first.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session · 2 the number of the event to start before, or empty · 3 how many at most
-- returns {events, event, ...}, each packed: {number, at, verb, by?, detail}
-- refuses pool_not_found · session_not_found
if not pool then
  return { 'pool_not_found' }
elseif not session_exists(ARGV[1]) then
  return { 'session_not_found' }
end
settle_session(ARGV[1])
local _, events = settlers().read_trail(ARGV[1])
local kept = { cmsgpack.unpack(events) }
local before, most = tonumber(ARGV[2]) or math.huge, tonumber(ARGV[3])
local answer = { 'events' }
for i = #kept, 1, -1 do
  if kept[i].number < before and #answer <= most then
    answer[#answer + 1] = cmsgpack.pack(kept[i])
  end
end
return answer
