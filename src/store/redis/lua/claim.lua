-- claim: claims a fingerprint for a session that is about to be added.
--
-- KEYS    1 fingerprints, HASH fingerprint -> "pool/session/claim/when"
-- ARGV    1 fingerprint · 2 "pool/session" · 3 a fresh name for the claim
--         4 the value of a claim that is known to be left over, or empty
-- returns {claimed, now} · {claimed_by, now, whose, when, value}: another session claims it
--
-- A session's own claim is replaced: there can be one session of a name, and add.lua knows whose.
assert(#KEYS >= 1)
local value = redis.call('HGET', KEYS[1], ARGV[1])
if value and value ~= ARGV[4] then
  local _, _, session, at = string.find(value, '^(.*)/[^/]*/(%d+)$')
  if session ~= ARGV[2] then
    return { 'claimed_by', now, session, tonumber(at), value }
  end
end
local claim = string.format('%s/%s/%d', ARGV[2], ARGV[3], now)
redis.call('HSET', KEYS[1], ARGV[1], claim)
return { 'claimed', now }
