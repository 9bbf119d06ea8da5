-- Piece: what is due. Needs standing.lua.

-- The most expired leases, ended cool-downs of whole sessions, ended rests, and sessions with ended
-- narrow cool-downs, each, that one call settles.
local SETTLE_LIMIT = '64'
-- How many events are kept of a session.
local MAX_EVENTS = 50
-- How many values an event has.
local EVENT_VALUES = 5

-- Makes what settles one session, and what keeps its trail.
local function settlers()
  local made = {}

  -- The number of the next event of a session, the events before it, and how many they are.
  function made.read_trail(name)
    local kept = redis.call('HGET', TRAIL, name)
    if not kept then
      return 1, '', 0
    end
    local number, count, ends = string.match(kept, '^(%d+) (%d+)%z()')
    return tonumber(number), string.sub(kept, ends), tonumber(count)
  end

  -- Where the event ends that begins behind a place among the events.
  function made.end_of_event(events, from)
    local ends = cmsgpack.unpack_limit(events, EVENT_VALUES, from)
    return ends < 0 and #events or ends
  end

  -- Adds an event to the trail of a session; the oldest goes when there are too many. Comes after
  -- the first write of a change (see unindex).
  function made.note(name, verb, by, detail, at)
    local number, events, count = made.read_trail(name)
    if count == MAX_EVENTS then
      events = string.sub(events, made.end_of_event(events, 0) + 1)
      count = count - 1
    end
    local head = string.format('%d %d\0', number + 1, count + 1)
    local event = cmsgpack.pack(number, at, verb, by, detail)
    redis.call('HSET', TRAIL, name, head .. events .. event)
  end

  -- Drops the cool-downs that are over: the narrow ones, or all.
  function made.drop_past(standing, narrow_only)
    local kept = {}
    for _, entry in ipairs(standing.cool_downs or {}) do
      if entry.ends > now or narrow_only and is_whole(entry.key) then
        kept[#kept + 1] = entry
      end
    end
    standing.cool_downs = #kept > 0 and kept or nil
  end

  function made.expire(name, standing)
    local lease = standing.lease
    local expiry, before = lease.expires_at, unindex(name, standing)
    if lease.deliveries == 0 then
      -- What was handed to a waiter and never collected was in nobody's hands.
      end_lease(standing, 'Undone', expiry)
    else
      end_lease(standing, 'Expired', expiry)
      rest(standing, expiry, pool.policy.drain)
    end
    index(name, standing, before)
    if lease.deliveries > 0 then
      made.note(name, 'expire', nil, 'held by ' .. lease.key, expiry)
    end
  end

  -- The rest is over, or the cool-down of the whole session.
  function made.end_rest(name, standing)
    local before = unindex(name, standing)
    made.drop_past(standing, false)
    standing.rest_until = 0
    index(name, standing, before)
  end

  -- Narrow cool-downs are over.
  function made.thaw(name, standing)
    local before, where = standing.cool_downs, seat(standing)
    if where == FREE then
      local here = place(name, standing.last_used)
      for _, entry in ipairs(before) do
        if not is_whole(entry.key) and entry.ends <= now then
          redis.call('ZREM', COOLING, entry.key .. here)
        end
      end
    end
    if where == FREE or where == SUSPECTS then
      freed[#freed + 1] = name
    end
    made.drop_past(standing, true)
    index_narrow(name, before, standing.cool_downs or {})
    write_standing(name, standing)
  end
  return made
end

-- Settles what is due, boundedly.
local function settle()
  local function all(key, deed)
    local due = redis.call('ZRANGEBYSCORE', key, '-inf', NOW, 'LIMIT', '0', SETTLE_LIMIT)
    if due[1] then
      local settler = settlers()[deed]
      for _, name in ipairs(due) do
        settler(name, read_standing(name))
      end
    end
  end
  all(LEASES, 'expire')
  local something_cools = redis.call('EXISTS', FLOODS, THAWS) > 0
  if something_cools then
    all(FLOODS, 'end_rest')
  end
  all(RESTS, 'end_rest')
  if something_cools then
    all(THAWS, 'thaw')
  end
end

-- Settles one session, because a call names it, and tells how it stands then. What a suspect one
-- waits for stays, so that looking at it does not change which is probed first.
local function settle_session(name)
  local standing = read_standing(name)
  if standing.invalid then
    if standing.rest_until > 0 and standing.rest_until <= now then
      standing.rest_until = 0
      write_standing(name, standing)
    end
    return standing
  end
  if standing.lease and standing.lease.expires_at <= now then
    settlers().expire(name, standing)
  end
  for _, entry in ipairs(standing.cool_downs or {}) do
    if not is_whole(entry.key) and entry.ends <= now then
      settlers().thaw(name, standing)
      break
    end
  end
  local where, at = seat(standing)
  if (where == FLOODS or where == RESTS) and at <= now then
    settlers().end_rest(name, standing)
  end
  return standing
end
