-- holds: whether a session has a credential.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session · 2 fingerprint
-- returns {holds, 1 or 0}
local known = redis.call('HGET', SESSION, ARGV[1])
local _, _, fingerprint = string.find(known or '', '^%d+ %S+ (%S+)\n')
return { 'holds', fingerprint == ARGV[2] and 1 or 0 }
