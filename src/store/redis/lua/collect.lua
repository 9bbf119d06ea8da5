-- collect: acquires what was handed to a waiter, or anew. Whoever stands in line for it leaves the
-- line.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 the ask, packed, as for acquire.lua
-- returns as acquire.lua
-- refuses as acquire.lua
if not pool then
  return { 'pool_not_found' }
end
local ask = read_ask(ARGV[1])
settle()
local own = read_waiter(redis.call('HGET', WAITERS, 's' .. ask.secret))
if own then
  part(own)
end
serve_waiters()
return lend(ask, function()
  return choose
end)
