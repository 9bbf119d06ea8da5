-- Piece: who waits, and to whom what has become free is handed. Needs choose.lua, grant.lua
-- and tell.lua.
--
-- Waiters that want the same with the same right to it stand in one sub-line, in order of arrival,
-- so that a free session is offered to the heads of the sub-lines only.

-- The most hand-overs of one call.
local SERVE_LIMIT = 64
-- How long a session that was handed over is kept for its waiter's broker to collect it.
local HAND_OVER = 2000
-- How long a class waits before it counts as the next better one.
local AGEING = 30000
-- The most sub-lines of a pool.
local MAX_LINES = 1024

local function read_waiter(ticket)
  local packed = ticket and redis.call('HGET', WAITERS, 't' .. ticket)
  return packed and cmsgpack.unpack(packed)
end

local function member_of(waiter)
  return waiter.line .. string.format('\0%016d\0%016d\0%016d\0', waiter.seq, waiter.since,
    waiter.deadline) .. waiter.ticket
end

-- Takes a waiter out of the line.
local function part(waiter)
  redis.call('HDEL', WAITERS, 't' .. waiter.ticket, 's' .. waiter.secret)
  if waiter.request then
    redis.call('HDEL', WAITERS, 'r' .. waiter.key .. '\0' .. waiter.request)
  end
  redis.call('ZREM', PATIENCE, waiter.ticket)
  if not waiter.absent then
    redis.call('ZREM', ARRIVALS, waiter.ticket)
    redis.call('ZREM', LINE, member_of(waiter))
    if redis.call('HINCRBY', LINES, waiter.line, -1) == 0 then
      redis.call('HDEL', LINES, waiter.line)
    end
  end
  if redis.call('ZCARD', PATIENCE) == 0 then
    -- Nobody waits: all turns are forgotten, the number of the last arrival is not.
    local seq = redis.call('HGET', TURNS, '#seq')
    redis.call('DEL', TURNS)
    redis.call('HSET', TURNS, '#seq', seq)
  end
end

-- Takes a waiter into the line, at the place of its number.
local function join(waiter)
  redis.call('HSET', WAITERS, 't' .. waiter.ticket, cmsgpack.pack(waiter),
    's' .. waiter.secret, waiter.ticket)
  if waiter.request then
    redis.call('HSET', WAITERS, 'r' .. waiter.key .. '\0' .. waiter.request, waiter.ticket)
  end
  redis.call('ZADD', PATIENCE, waiter.deadline, waiter.ticket)
  redis.call('HSETNX', TURNS, '#since', now)
  if not waiter.absent then
    redis.call('ZADD', ARRIVALS, waiter.seq, waiter.ticket)
    redis.call('ZADD', LINE, 0, member_of(waiter))
    redis.call('HINCRBY', LINES, waiter.line, 1)
  end
end

-- Drops those whose time is over, boundedly.
local function drop_due()
  local late = redis.call('ZRANGEBYSCORE', PATIENCE, '-inf', now, 'LIMIT', 0, SETTLE_LIMIT)
  for _, ticket in ipairs(late) do
    part(read_waiter(ticket))
  end
end

-- The first of a sub-line whose time is not over: its number, when it came, and its ticket.
local function head_of(line)
  local from, chunk = '[' .. line .. '\0', 1
  repeat
    local found = redis.call('ZRANGEBYLEX', LINE, from, '(' .. line .. '\1', 'LIMIT', 0, chunk)
    for _, member in ipairs(found) do
      local seq, since, deadline, ticket =
        string.match(member, '(%d+)%z(%d+)%z(%d+)%z(%d+)$')
      if tonumber(deadline) > now then
        return tonumber(seq), tonumber(since), ticket
      end
    end
    local is_last = #found < chunk
    from, chunk = '(' .. (found[#found] or ''), SERVE_LIMIT
  until is_last
end

-- The kinds of demand that wait, each with an ask of its kind and the heads of its sub-lines, in
-- order of the demand's text.
local function demands()
  local by_demand, order = {}, {}
  local lines = redis.call('HKEYS', LINES)
  table.sort(lines)
  for _, line in ipairs(lines) do
    local seq, since, ticket = head_of(line)
    if seq then
      local demand, class, key = string.match(line, '^(.-)%z(%d)%z(.*)$')
      if not by_demand[demand] then
        by_demand[demand] = { ask = read_ask(read_waiter(ticket).ask), heads = {} }
        order[#order + 1] = by_demand[demand]
      end
      local heads = by_demand[demand].heads
      local level = math.max(tonumber(class) - math.floor((now - since) / AGEING), 0)
      heads[#heads + 1] = { level = level, key = key, seq = seq, ticket = ticket }
    end
  end
  return order
end

-- Whether the one goes before the other.
local function goes_before(one, other)
  if one.level ~= other.level then
    return one.level < other.level
  elseif one.turn ~= other.turn then
    return one.turn < other.turn
  end
  return one.seq < other.seq
end

-- Whether a session that nobody holds would do for an ask now.
local function would_do(ask, name, standing)
  if ask.session and ask.session ~= name then
    return false
  end
  local scopes = ask.scopes or {}
  local where, at = seat(standing)
  local is_open = where == FREE or ask.probe and where == SUSPECTS and at <= now
  return is_open and session_matches(ask.selector, name) and not cools_until(standing, scopes)
    and not brake_end(scopes)
end

-- The ticket of whose turn it is among those whom the session would suit.
local function next_for(name, standing)
  local best
  for _, demand in ipairs(demands()) do
    if would_do(demand.ask, name, standing) then
      for _, head in ipairs(demand.heads) do
        head.turn = tonumber(redis.call('HGET', TURNS, 'k' .. head.key) or 0)
        if not best or goes_before(head, best) then
          best = head
        end
      end
    end
  end
  return best and best.ticket
end

-- In what time a waiter is served on the average of late, when one is served now.
local function pace_now()
  local turns = redis.call('HMGET', TURNS, '#pace', '#since')
  local took = now - tonumber(turns[2])
  return turns[1] and math.floor((7 * tonumber(turns[1]) + took) / 8) or took
end

-- Hands a session to whose turn it is. A waiter whose broker hears nothing any more is dropped.
local function offer(name)
  local standing = read_standing(name)
  -- What this very call has removed may have come free in it.
  if standing.invalid or not session_exists(name) then
    return false
  end
  for _ = 1, SERVE_LIMIT do
    local ticket = next_for(name, standing)
    if not ticket then
      return false
    end
    local waiter = read_waiter(ticket)
    part(waiter)
    if redis.call('PUBLISH', waiter.channel, ticket) > 0 then
      if redis.call('ZCARD', PATIENCE) > 0 then
        local turn = redis.call('HINCRBY', TURNS, '#turn', 1)
        redis.call('HSET', TURNS, 'k' .. waiter.key, turn, '#pace', pace_now(), '#since', now)
      end
      grant(read_ask(waiter.ask), name, HAND_OVER)
      return true
    end
  end
  reconsider = true
  return false
end

-- Offers all that is free to all that wait, boundedly. Tells whether something is left over.
local function offer_all()
  local left = SERVE_LIMIT
  for _, demand in ipairs(demands()) do
    repeat
      local name = choose(demand.ask)
      if name and left == 0 then
        return true
      end
      left = left - 1
    until not name or not offer(name)
  end
  return false
end

-- When something changes next by itself.
local function next_change()
  local best
  for _, key in ipairs({ LEASES, RESTS, FLOODS, THAWS }) do
    local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    best = sooner(best, nil, tonumber(first[2]), nil)
  end
  local later = { SUSPECTS, '(' .. NOW, '+inf', 'WITHSCORES', 'LIMIT', '0', '1' }
  local suspect = redis.call('ZRANGEBYSCORE', unpack(later))
  best = sooner(best, nil, tonumber(suspect[2]), nil)
  for _, packed in ipairs(redis.call('HVALS', BRAKES)) do
    local ends = cmsgpack.unpack(packed).ends
    best = sooner(best, nil, ends > now and ends or nil, nil)
  end
  local hold = pool.hold_until or 0
  return sooner(best, nil, hold > now and hold or nil, nil)
end

-- Whether the pool lends. What it has left over when it does not is served when it does again.
local function lends()
  return pool.mode == 'Active' and (pool.hold_until or 0) <= now
end

-- In how long something is due that may serve the line; -1 when nobody is in it or nothing is.
local function next_due()
  if redis.call('ZCARD', ARRIVALS) == 0 then
    return -1
  elseif reconsider and lends() then
    return 0
  end
  local at = next_change()
  return at and math.max(at - now, 0) or -1
end

-- Offers what has become free to the line, and tells all brokers when something is due sooner
-- than they know.
local function serve()
  local names = freed
  freed = {}
  drop_due()
  if redis.call('ZCARD', PATIENCE) == 0 then
    reconsider = false
    return
  end
  if lends() then
    for _, name in ipairs(names) do
      offer(name)
    end
    if reconsider then
      reconsider = false
      reconsider = offer_all() or reconsider
    end
  end
  local due = next_due()
  if due >= 0 then
    local known = tonumber(redis.call('HGET', TURNS, '#due') or 0)
    if known <= now or now + due < known then
      redis.call('HSET', TURNS, '#due', now + due)
      tell_due(due)
    end
  end
end
