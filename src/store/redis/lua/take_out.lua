-- Piece: taking a session out of the pool. Needs standing.lua and tell.lua.

-- A lease that somebody else than its holder ends so drains, and its holder is told.
local function take_out(name, standing, why, cause)
  local before, lease = unindex(name, standing), standing.lease
  if lease then
    end_lease(standing, cause, now)
    if cause ~= 'Surrendered' then
      rest(standing, now, pool.policy.drain)
    end
  end
  why.at = now
  standing.invalid = why
  index(name, standing, before)
  if lease and cause ~= 'Surrendered' then
    tell_ended(name, standing.ended)
  end
end
