-- Piece: how a pool stands. Needs standing.lua, settle.lua.

-- Counts the sessions by state, what is due but not settled included:
-- {total, free, leased, resting, flood_wait, suspect, invalid}.
local function counts()
  local drain = pool.policy.drain
  local expired = redis.call('ZCOUNT', LEASES, '-inf', NOW)
  local drained = expired
  if drain > 0 then
    drained = redis.call('ZCOUNT', LEASES, '-inf', math.max(now - drain, 0))
  end
  local rested = redis.call('ZCOUNT', RESTS, '-inf', NOW)
  local cooled = redis.call('ZCOUNT', FLOODS, '-inf', NOW)
  local total = redis.call('HLEN', SESSION)
  local free = redis.call('ZCARD', FREE) + rested + cooled + drained
  local leased = redis.call('ZCARD', LEASES) - expired
  local resting = redis.call('ZCARD', RESTS) - rested + expired - drained
  local flood_wait = redis.call('ZCARD', FLOODS) - cooled
  local suspect = redis.call('ZCARD', SUSPECTS)
  local invalid = total - free - leased - resting - flood_wait - suspect
  return { total, free, leased, resting, flood_wait, suspect, invalid }
end

-- Who waits: how many, for how long the first or -1, and in what time one of them is served or -1.
local function queue()
  local waiters, oldest = redis.call('ZCARD', ARRIVALS), -1
  local turns = redis.call('HMGET', TURNS, '#pace', '#since')
  local pace = tonumber(turns[1] or -1)
  if waiters > 0 then
    local first = redis.call('ZRANGE', ARRIVALS, '0', '0')[1]
    oldest = now - cmsgpack.unpack(redis.call('HGET', WAITERS, 't' .. first)).since
    if pace >= 0 then
      pace = math.max(pace, now - tonumber(turns[2]))
    end
  end
  return waiters, oldest, pace
end

-- The lists of sessions that will be free, each with what ends then, in the order in which they win
-- when they are equally soon.
local COMING = { { RESTS, 'rest' }, { LEASES, 'lease' }, { FLOODS, 'cool_down' } }
-- The same for who would probe.
local COMING_TO_PROBE = { COMING[1], COMING[2], COMING[3], { SUSPECTS, 'rest' } }

-- A moment, if it is sooner than the best so far: the best, and what ends then. Either may be
-- missing.
local function sooner(best, best_cause, at, cause)
  if at and (not best or at < best) then
    return at, cause
  end
  return best, best_cause
end

-- As it is answered: in how long, and what ends then. What is due but not settled ends now.
-- Nothing: -1.
local function after(at, cause)
  if at then
    return math.max(at - now, 0), cause
  end
  return -1, ''
end

-- The soonest moment in these lists, and what ends then.
local function soonest_of(lists)
  local best, cause
  for _, list in ipairs(lists) do
    local first = redis.call('ZRANGE', list[1], '0', '0', 'WITHSCORES')
    best, cause = sooner(best, cause, tonumber(first[2]), list[2])
  end
  return best, cause
end
