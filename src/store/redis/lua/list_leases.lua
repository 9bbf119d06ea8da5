-- list_leases: reads running leases in the order in which they expire.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 the expiry of the lease to start after, or empty · 2 its session · 3 how many at most
-- returns {leases, session of the first, how it stands, ...}
-- refuses pool_not_found
if not pool then
  return { 'pool_not_found' }
end
settle()
local mark = ARGV[1] ~= '' and { expires_at = tonumber(ARGV[1]), session = ARGV[2] } or nil
local answer = { 'leases' }
for _, seat in ipairs(running_after(mark, tonumber(ARGV[3]))) do
  answer[#answer + 1] = seat.session
  answer[#answer + 1] = redis.call('HGET', STANDING, seat.session)
end
return answer
