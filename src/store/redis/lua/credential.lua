-- credential: tells which credential a session has, and by which claim.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session
-- returns {credential, fingerprint, claim}, both empty where there is no such session
local known = redis.call('HGET', SESSION, ARGV[1])
local _, _, claim, fingerprint = string.find(known or '', '^%d+ (%S+) ([^%s%z]+)%z')
return { 'credential', fingerprint or '', claim or '' }
