-- Piece: how a session is shown. Needs standing.lua.

-- The name of a session's state.
local function state(standing)
  if standing.invalid then
    return 'Invalid'
  end
  local where, at = seat(standing)
  if where == LEASES then
    return 'Leased'
  elseif where == SUSPECTS then
    return 'Suspect'
  elseif where == FLOODS and at > now then
    return 'FloodWait'
  end
  return standing.rest_until > now and 'Resting' or 'Ready'
end

local function session_exists(name)
  return redis.call('HEXISTS', SESSION, name) == 1
end

-- The answer of every verb that shows a session: its name, what is known of it and how it stands.
local function view(name, standing)
  return { 'session', now, name, redis.call('HGET', SESSION, name), pack_standing(standing) }
end
