-- Piece: taking a session out of the pool. Needs standing.lua.

-- A lease that somebody else than its holder ends so drains.
local function take_out(name, standing, why, cause)
  local before = unindex(name, standing)
  if standing.lease then
    end_lease(standing, cause, now)
    if cause ~= 'Surrendered' then
      rest(standing, now, pool.policy.drain)
    end
  end
  why.at = now
  standing.invalid = why
  index(name, standing, before)
end
