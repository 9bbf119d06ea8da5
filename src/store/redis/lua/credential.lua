-- credential: tells which credential a session has, and by which claim.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session
-- returns {credential, fingerprint, claim}, both empty where there is no such session
local known = redis.call('HGET', SESSION, ARGV[1])
local claim, fingerprint = string.match(known or '', '^%d+ (%S+) ([^ %z]+)')
return { 'credential', fingerprint or '', claim or '' }
