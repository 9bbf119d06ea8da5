-- add: adds a session, free at once.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session · 2 its labels, "\nkey=value\n...\n", or empty · 3 its record
--         4 its fingerprint
--         5 the claim on the fingerprint (claim.lua), empty where another session holds it
--         6 when the claim was made · 7 for how long in ms it is good
--         8 its account, empty where that is not known · 9 who adds it
-- returns {session, now, its name, what is known of it, how it stands}
--         {claim_late} where the claim is no longer good
-- refuses pool_not_found · {session_exists, its fingerprint, its claim} · credential_exists
--
-- What is known of a session is kept as a head in text, a zero byte and the record. The head is
-- "created_at claim fingerprint", and " account" where that is known.
if not pool then
  return { 'pool_not_found' }
end
local name, labels, record, fingerprint, claim = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local account = ARGV[8]
local known = redis.call('HGET', SESSION, name)
if claim == '' then
  if not known then
    return { 'credential_exists' }
  end
elseif now > ARGV[6] + ARGV[7] then
  return { 'claim_late' }
end
settle()
if known then
  local kept_claim, kept_fingerprint = string.match(known, '^%d+ (%S+) ([^ %z]+)')
  -- The same claim means the same call, repeated because its reply was lost.
  if kept_claim == claim then
    return view(name, settle_session(name))
  end
  return { 'session_exists', kept_fingerprint, kept_claim }
end
local head = string.format('%d %s %s', now, claim, fingerprint)
if account ~= '' then
  head = head .. ' ' .. account
  redis.call('ZADD', ACCOUNTS, 0, account .. '\0' .. name)
end
redis.call('HSET', SESSION, name, head .. '\0' .. record)
redis.call('ZADD', INDEX, 0, '\0' .. name)
if labels ~= '' then
  for label in string.gmatch(labels, '[^\n]+') do
    redis.call('ZADD', INDEX, 0, label .. '\0' .. name)
  end
end
local standing = read_standing(name)
standing.epoch, standing.labels = pool.past_epoch or 0, labels ~= '' and labels or nil
index(name, standing)
settlers().note(name, 'add', ARGV[9], '', now)
return view(name, standing)
