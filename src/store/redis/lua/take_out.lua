-- Piece: taking a session out of the pool. Needs standing.lua, settle.lua and tell.lua.

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
    tell_ended(name, last_end(standing))
  end
  local reason = string.upper(string.gsub(why.reason, '(%l)(%u)', '%1_%2'))
  local detail = why.detail ~= '' and reason .. ': ' .. why.detail or reason
  local verb = cause == 'Surrendered' and 'surrender' or 'invalidate'
  settlers().note(name, verb, why.by, detail, now)
end
