-- update_session: changes what is known of a session, as the broker has made it of what it was
-- told. A lease that runs goes on.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session
--         2 SHA-1 of its labels and what is known, from which the broker made the change; empty to
--           be told them
--         3 its record; empty where all is as it was
--         4 its labels, "\nkey=value\n...\n", or empty · 5 its account, empty where not known
--         6 who does it · 7 what changes, and why
-- returns {session, now, its name, what is known of it, how it stands}
--         {stale, its labels, what is known of it} where that is something else by now
-- refuses pool_not_found · session_not_found
if not pool then
  return { 'pool_not_found' }
end
local name, record, labels, account = ARGV[1], ARGV[3], ARGV[4], ARGV[5]
local known = redis.call('HGET', SESSION, name)
if not known then
  return { 'session_not_found' }
end
local before = read_standing(name).labels or ''
if redis.sha1hex(before .. known) ~= ARGV[2] then
  return { 'stale', before, known }
end
settle()
local standing = settle_session(name)
if record == '' then
  return view(name, standing)
end
-- Where it stands there may be seats that its labels tell; a leased one has none.
local seated = not standing.invalid and not standing.lease
local cooled = seated and unindex(name, standing)
for label in string.gmatch(before, '[^\n]+') do
  redis.call('ZREM', INDEX, label .. '\0' .. name)
end
standing.labels = labels ~= '' and labels or nil
for label in string.gmatch(labels, '[^\n]+') do
  redis.call('ZADD', INDEX, '0', label .. '\0' .. name)
end
local head, old = string.match(known, '^(%d+ %S+ [^ %z]+) ?([^ %z]*)%z')
redis.call('ZREM', ACCOUNTS, old .. '\0' .. name)
if account ~= '' then
  head = head .. ' ' .. account
  redis.call('ZADD', ACCOUNTS, '0', account .. '\0' .. name)
end
redis.call('HSET', SESSION, name, head .. '\0' .. record)
if seated then
  index(name, standing, cooled)
else
  write_standing(name, standing)
end
settlers().note(name, 'update', ARGV[6], ARGV[7], now)
return view(name, standing)
