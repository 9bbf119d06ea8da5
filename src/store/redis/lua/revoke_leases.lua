-- revoke_leases: ends running leases before their time; their sessions drain. Of a key's leases,
-- or those that a selector matches, one call looks at so many, in the order of their expiry.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 which, packed: {session?, secret?, key?, selector?}: the lease of a session, only that
--           with a secret; or those of a key; or those of sessions that a selector matches
--         2 why · 3 how many to look at
--         4 when the first call for these leases was made, or empty: those granted later are spared
--         5 the expiry of the lease to start after, or empty · 6 its session · 7 who does it
-- returns {revoked, when the first call was made, expiry of the last that was looked at where more
--         follow or -1, its session, session of the first that was ended, how it stood, ...}
-- refuses pool_not_found · session_not_found
if not pool then
  return { 'pool_not_found' }
end
local which, why, most = cmsgpack.unpack(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local first = tonumber(ARGV[4]) or now
settle()
local answer = { 'revoked', first, -1, '' }

local function revoke(name, standing)
  answer[#answer + 1] = name
  answer[#answer + 1] = pack_standing(standing)
  local before = unindex(name, standing)
  end_lease(standing, 'Revoked', now, why)
  rest(standing, now, pool.policy.drain)
  index(name, standing, before)
  tell_ended(name, last_end(standing))
  settlers().note(name, 'revoke', ARGV[7], why, now)
end

if which.session then
  if not session_exists(which.session) and not which.secret then
    return { 'session_not_found' }
  end
  local standing = settle_session(which.session)
  local lease = standing.lease
  if lease and (not which.secret or lease.secret == which.secret) then
    revoke(which.session, standing)
  end
  return answer
end
local mark = ARGV[5] ~= '' and { expires_at = tonumber(ARGV[5]), session = ARGV[6] } or nil
local seats = running_after(mark, most)
for _, seat in ipairs(seats) do
  local standing = read_standing(seat.session)
  local fits = standing.lease.granted_at <= first
  if which.key then
    fits = fits and standing.lease.key == which.key
  else
    fits = fits and session_matches(which.selector, seat.session)
  end
  if fits then
    revoke(seat.session, standing)
  end
end
if #seats == most then
  answer[3], answer[4] = seats[most].expires_at, seats[most].session
end
return answer
