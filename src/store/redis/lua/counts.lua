-- Piece: how a pool stands. Needs standing.lua.

-- Counts the sessions by state, what is due but not settled included:
-- {total, free, leased, resting, invalid}.
local function counts(drain)
  local expired = redis.call('ZCOUNT', LEASES, '-inf', now)
  local drained = expired
  if drain > 0 then
    drained = redis.call('ZCOUNT', LEASES, '-inf', math.max(now - drain, 0))
  end
  local rested = redis.call('ZCOUNT', RESTS, '-inf', now)
  local total = redis.call('HLEN', SESSION)
  local free = redis.call('ZCARD', FREE) + rested + drained
  local leased = redis.call('ZCARD', LEASES) - expired
  local resting = redis.call('ZCARD', RESTS) - rested + expired - drained
  return { total, free, leased, resting, total - free - leased - resting }
end

-- The sooner of the end of a lease and of a rest, either of which may be missing: in how long,
-- and what ends then. What is due but not settled ends now. Nothing: -1.
local function sooner(lease, rest)
  if rest and (not lease or rest <= lease) then
    return math.max(rest - now, 0), 'rest'
  elseif lease then
    return math.max(lease - now, 0), 'lease'
  end
  return -1, ''
end

-- The soonest end of a lease or rest in the whole pool.
local function next_release()
  local lease = redis.call('ZRANGE', LEASES, 0, 0, 'WITHSCORES')
  local rest = redis.call('ZRANGE', RESTS, 0, 0, 'WITHSCORES')
  return sooner(tonumber(lease[2]), tonumber(rest[2]))
end

-- The answer of every verb that shows a pool.
local function pool_view(pool)
  settle(pool.policy.drain)
  local after, cause = next_release()
  return { 'pool', now, cmsgpack.pack(pool), counts(pool.policy.drain), after, cause }
end
