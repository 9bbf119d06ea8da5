-- add: adds a session, free at once.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session · 2 its labels as lines "key=value\n" · 3 its record · 4 its fingerprint
--         5 the claim on the fingerprint (claim.lua), empty where another session holds it
--         6 when the claim was made · 7 for how long in ms it is good
-- returns {session, now, what is known of it, how it stands}
--         {claim_late} where the claim is no longer good
-- refuses pool_not_found · {session_exists, its fingerprint, its claim} · credential_exists
--
-- What is known of a session is kept as a head in text, a zero byte and the record. The head has
-- the lines "created_at claim fingerprint" and "key=value" for each label.
local pool = read_pool()
if not pool then
  return { 'pool_not_found' }
end
local name, labels, record, fingerprint, claim = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local known = redis.call('HGET', SESSION, name)
if claim == '' then
  if not known then
    return { 'credential_exists' }
  end
elseif now > ARGV[6] + ARGV[7] then
  return { 'claim_late' }
end
settle(pool.policy.drain)
if known then
  local _, _, kept_claim, kept_fingerprint = string.find(known, '^%d+ (%S+) (%S+)\n')
  -- The same claim means the same call, repeated because its reply was lost.
  if kept_claim == claim then
    return view(name, settle_session(name, pool.policy.drain))
  end
  return { 'session_exists', kept_fingerprint, kept_claim }
end
local head = string.format('%.0f %s %s\n', now, claim, fingerprint) .. labels
redis.call('HSET', SESSION, name, head .. '\0' .. record)
redis.call('ZADD', FREE, 0, name)
redis.call('ZADD', LABELS, 0, '\0' .. name)
for label in string.gmatch(labels, '([^\n]+)\n') do
  redis.call('ZADD', LABELS, 0, label .. '\0' .. name)
end
return view(name, read_standing(name))
