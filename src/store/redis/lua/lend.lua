-- Piece: what an ask is answered. Needs grant.lua.

-- The lease that the ask has already, a new one, or a refusal. `choice()` gives choose().
local function lend(ask, choice)
  local function granted(name, packed, before)
    return { 'granted', now, before, name, redis.call('HGET', SESSION, name), packed }
  end
  if ask.retried then
    local name = redis.call('HGET', REQUESTS, ask.secret)
    local standing = name and settle_session(name)
    if standing and standing.lease and standing.lease.secret == ask.secret then
      -- The same call as before, so no other delivery.
      return granted(name, collect(name, standing) or pack_standing(standing), 0)
    end
  end
  if ask.request then
    local name = redis.call('HGET', REQUESTS, ask.key .. '\0' .. ask.request)
    local standing = name and settle_session(name)
    local lease = standing and standing.lease
    if lease and lease.request == ask.request then
      if lease.digest ~= ask.digest then
        return { 'request_id_reused' }
      end
      local collected = collect(name, standing)
      if collected then
        return granted(name, collected, 0)
      end
      lease.deliveries = lease.deliveries + 1
      return granted(name, write_standing(name, standing), 1)
    end
  end
  local name, is_out
  local is_picky = ask.session or ask.selector[1] or ask.scopes or ask.probe
  if not is_picky and pool.mode == 'Active' and (pool.hold_until or 0) <= now then
    -- What choose() comes to for an ask that any session would do for.
    name = redis.call('ZPOPMIN', FREE)[1]
    is_out = name ~= nil
  end
  if not name then
    local chosen, refusal = choice()(ask)
    if not chosen then
      return refusal
    end
    name = chosen
  end
  return granted(name, grant(ask, name, nil, is_out), 0)
end
