-- list_sessions: reads sessions by name.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 the name to start after, or empty · 2 how many at most
-- returns {sessions, now, name of the first, what is known of it, how it stands, ...}
-- refuses pool_not_found
if not pool then
  return { 'pool_not_found' }
end
local from = ARGV[1] == '' and '[\0' or '(\0' .. ARGV[1]
local answer = { 'sessions', now }
for _, member in ipairs(redis.call('ZRANGEBYLEX', INDEX, from, '(\1', 'LIMIT', 0, ARGV[2])) do
  local name = string.sub(member, 2)
  local shown = view(name, settle_session(name))
  for i = 3, #shown do
    answer[#answer + 1] = shown[i]
  end
end
return answer
