-- Piece: taking a place in the line. Needs choose.lua, lend.lua and queue.lua.

-- How many leases are looked at.
local MOST_LEASES = 256

-- Whether the demand could be met in time if every lease were given back now.
local function may_be_released(ask, deadline)
  local scopes = ask.scopes or {}
  if (brake_end(scopes) or 0) > deadline then
    return false
  end
  local names = ask.session and { ask.session } or redis.call('ZRANGE', LEASES, '0', MOST_LEASES)
  for i, name in ipairs(names) do
    if i > MOST_LEASES then
      return true
    end
    if session_matches(ask.selector, name) then
      local standing = read_standing(name)
      if standing.lease and (cools_until(standing, scopes) or 0) <= deadline then
        return true
      end
    end
  end
  return false
end

-- What enqueue.lua answers to an ask, which came packed, of one who waits so.
return function(ask, packed, patience)
  local answer = lend(ask, function()
    return choose
  end)
  if answer[1] == 'granted' then
    local own = read_waiter(redis.call('HGET', WAITERS, 's' .. ask.secret))
    if own then
      part(own)
    end
    return answer
  end
  local can_help = answer[1] == 'pool_busy' or answer[1] == 'pool_flood_wait'
  local deadline = now + patience.wait
  if not can_help or answer[3] > patience.wait and not may_be_released(ask, deadline) then
    return answer
  end

  local known = ask.request and redis.call('HGET', WAITERS, 'r' .. ask.key .. '\0' .. ask.request)
  local place = read_waiter(known or patience.ticket)
  if known and place.digest ~= ask.digest then
    return { 'request_id_reused' }
  end
  local line = redis.sha1hex(patience.demand) .. '\0' .. patience.class .. '\0' .. ask.key
  if place then
    part(place)
  else
    local waiters, most = redis.call('ZCARD', PATIENCE), pool.policy.max_waiters
    local has_line = redis.call('HEXISTS', LINES, line) == 1
    if waiters >= most or not has_line and redis.call('HLEN', LINES) >= MAX_LINES then
      return { 'wait_queue_full', waiters, most, unpack(answer, 2) }
    end
  end
  join({
    ticket = patience.ticket,
    line = line,
    key = ask.key,
    secret = ask.secret,
    request = ask.request,
    digest = ask.digest,
    channel = patience.channel,
    class = patience.class,
    purpose = ask.purpose,
    session = ask.session,
    selector = patience.selector,
    ask = packed,
    seq = place and place.seq or redis.call('HINCRBY', TURNS, '#seq', 1),
    since = place and place.since or now,
    deadline = deadline,
  })
  local seq = redis.call('ZSCORE', ARRIVALS, patience.ticket)
  local position = redis.call('ZCOUNT', ARRIVALS, '-inf', seq)
  return { 'waiting', now, position, redis.call('ZCARD', ARRIVALS), next_due() }
end
