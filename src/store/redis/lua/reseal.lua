-- reseal: replaces the record of a session, which holds its secret parts, if it is still the one
-- that was read.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session · 2 what was known of it, head and all · 3 its new record
-- returns {resealed, 1 if the record is the new one now}
-- refuses pool_not_found · session_not_found
if not pool then
  return { 'pool_not_found' }
end
local name, read, record = ARGV[1], ARGV[2], ARGV[3]
local known = redis.call('HGET', SESSION, name)
if not known then
  return { 'session_not_found' }
end
local head = string.match(known, '^%d+ %S+ [^%z]+%z')
local new = head .. record
-- The new record is there already when the call is repeated because its reply was lost.
if known ~= new then
  if known ~= read then
    return { 'resealed', 0 }
  end
  redis.call('HSET', SESSION, name, new)
end
return { 'resealed', 1 }
