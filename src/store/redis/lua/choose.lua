-- Piece: which session an ask gets, and when none, why not. Needs counts.lua, selector.lua,
-- scopes.lua and line.lua.
--
-- An ask crosses packed: {session?, selector, scopes?, probe?, ...}. The scopes are sorted, each
-- once; see selector.lua for the selector.

-- The lists of sessions that will be free for an ask.
local function coming(ask)
  return ask.probe and COMING_TO_PROBE or COMING
end

-- How soon the named session would do, what ends then, and whether it matches.
local function next_named(ask, standing, scopes)
  if not session_matches(ask.selector, ask.session) then
    return nil, nil, false
  elseif standing.invalid then
    return nil, nil, true
  end
  local where, at = seat(standing)
  if where == FREE then
    at = ready_at(standing, scopes, 0)
    return at, 'cool_down', true
  end
  for _, list in ipairs(coming(ask)) do
    if where == list[1] then
      local ready, cause = ready_at(standing, scopes, at, list[2])
      return ready, cause, true
    end
  end
  return nil, nil, true
end

-- The soonest moment that a session would do, what ends then, and whether any matches.
local function next_fit(ask, standing, scopes)
  if ask.session then
    return next_named(ask, standing, scopes)
  elseif #scopes > 0 then
    return soonest_for(ask.selector, scopes, coming(ask))
  elseif #ask.selector > 0 then
    return soonest_match(ask.selector, coming(ask))
  end
  local at, cause = soonest_of(coming(ask))
  return at, cause, true
end

-- Whether the named session would do now.
local function fits(ask, standing, scopes)
  if standing.invalid then
    return false
  end
  local where, at = seat(standing)
  local is_open = where == FREE or ask.probe and where == SUSPECTS and at <= now
  local cools = cools_until(standing, scopes) ~= nil
  return is_open and not cools and session_matches(ask.selector, ask.session)
end

-- The first suspect session that may be probed now and would do.
local function first_to_probe(selector, scopes)
  local from, chunk = 0, FIRST_CHUNK
  repeat
    local names = redis.call('ZRANGEBYSCORE', SUSPECTS, '-inf', NOW, 'LIMIT', from, chunk)
    for _, name in ipairs(names) do
      if session_matches(selector, name) and not cools_until(read_standing(name), scopes) then
        return name
      end
    end
    local is_last = #names < chunk
    from, chunk = from + chunk, math.min(2 * chunk, LAST_CHUNK)
  until is_last
end

-- When the last brake on a method of the ask ends, if one runs.
local function brake_end(scopes)
  local methods, ends = {}, nil
  for _, scope in ipairs(scopes) do
    methods[#methods + 1] = string.find(scope, 'method:', 1, true) == 1 and scope or nil
  end
  if #methods > 0 then
    for _, packed in ipairs(redis.call('HMGET', BRAKES, unpack(methods))) do
      local brake = packed and cmsgpack.unpack(packed)
      if brake and brake.ends > math.max(now, ends or 0) then
        ends = brake.ends
      end
    end
  end
  return ends
end

-- The refusal of a pool where nothing that would do is free now.
local function busy(at, cause)
  local after_ms, what = after(at, cause)
  local tag = what == 'cool_down' and 'pool_flood_wait' or 'pool_busy'
  return { tag, counts(), after_ms, what, queue() }
end

-- The session that an ask gets, or a refusal.
local function choose(ask)
  local selector, scopes = ask.selector, ask.scopes or {}
  if (pool.hold_until or 0) > now then
    return nil, { 'recovering' }
  elseif pool.mode == 'Paused' then
    return nil, { 'pool_paused' }
  elseif pool.mode == 'Draining' then
    return nil, { 'pool_draining' }
  end
  local name, standing
  if ask.session then
    if not session_exists(ask.session) then
      local empty = redis.call('HLEN', SESSION) == 0
      return nil, { empty and 'pool_empty' or 'session_not_found' }
    end
    standing = settle_session(ask.session)
  end
  settle_scopes(scopes)
  if standing then
    name = fits(ask, standing, scopes) and ask.session or nil
  else
    name = ask.probe and first_to_probe(selector, scopes) or first_free(selector, scopes)
  end
  local brake = brake_end(scopes)
  if name and not brake then
    return name
  elseif name then
    return nil, busy(brake, 'cool_down')
  elseif redis.call('HLEN', SESSION) == 0 then
    return nil, { 'pool_empty' }
  end
  local at, cause, any = next_fit(ask, standing, scopes)
  if at and brake and brake > at then
    at, cause = brake, 'cool_down'
  end
  if at then
    return nil, busy(at, cause)
  end
  return nil, { any and 'pool_depleted' or 'no_matching_session', counts() }
end
