-- unclaim: gives a claim on a fingerprint up, if it is still the same. Idempotent.
--
-- KEYS    1 fingerprints, HASH fingerprint -> "pool/session/claim/when"
-- ARGV    1 fingerprint · 2 "pool/session" · 3 the claim
--         4 the claim by which the session holds the credential already, or empty
-- returns {unclaimed}
assert(#KEYS >= 1)
local value = redis.call('HGET', KEYS[1], ARGV[1])
local claim = ARGV[2] .. '/' .. ARGV[3] .. '/'
if value and string.sub(value, 1, #claim) == claim then
  if ARGV[4] == '' then
    redis.call('HDEL', KEYS[1], ARGV[1])
  else
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. '/' .. ARGV[4] .. '/0')
  end
end
return { 'unclaimed' }
