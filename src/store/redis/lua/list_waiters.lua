-- list_waiters: reads the waiters that are there, in order of arrival.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 the number to start after · 2 how many at most
-- returns {waiters, now, position of the first, the first packed, ...}
-- refuses pool_not_found
if not pool then
  return { 'pool_not_found' }
end
settle()
serve_waiters()
local answer, from = { 'waiters', now }, '(' .. ARGV[1]
local position = redis.call('ZCOUNT', ARRIVALS, '-inf', ARGV[1])
for i, ticket in ipairs(redis.call('ZRANGEBYSCORE', ARRIVALS, from, '+inf', 'LIMIT', 0, ARGV[2])) do
  answer[#answer + 1] = position + i
  answer[#answer + 1] = redis.call('HGET', WAITERS, 't' .. ticket)
end
return answer
