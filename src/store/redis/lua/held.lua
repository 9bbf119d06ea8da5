-- Piece: who holds a lease, and who held it. Needs standing.lua and settle.lua.

-- How the session of a lease stands if this key holds the lease; what became of the lease, as a
-- refusal, if not.
local function held(name, secret, key)
  local standing = settle_session(name)
  local lease = standing.lease
  if lease and lease.secret == secret then
    if lease.key == key then
      return standing
    end
    return standing, { 'not_holder' }
  end
  local ended = last_end(standing)
  if ended and ended.secret == secret then
    return standing, { 'lease_lost', ended.cause, ended.epoch, ended.at, ended.detail or '' }
  elseif ended then
    -- Only the last lease of a session is remembered, so an id that matches none is taken for an
    -- older one: whoever has it must stop.
    local at = lease and lease.granted_at or standing.last_used
    return standing, { 'lease_lost', 'Superseded', standing.epoch, at, '' }
  end
  return standing, { 'lease_not_found' }
end

-- Whether a lease of some epoch probes the session, which is suspect.
local function is_probe(standing, epoch)
  return standing.suspect ~= nil and epoch > standing.suspect.epoch
end
