-- Piece: what an error of Telegram does. Needs standing.lua, settle.lua and held.lua.
--
-- An error crosses packed: {action, reason? (of Invalidated), key? and subject? (of its scope, none
-- for the request alone), of_account (whether it reaches the whole account), term, length?, date?,
-- first?, most? (of the term), rule, cause, occurred_at?, flooded? (where Telegram told to wait:
-- {key, method}), escalation (for a pool whose policy says nothing of it)}. Moments are the
-- caller's, lengths are in ms.

-- The most cool-downs that a session has at once.
local MAX_COOL_DOWNS = 64
-- The most methods of a pool whose floods are counted, and the most that are braked.
local MAX_BRAKES = 256
-- The most sessions of an account that one error reaches.
local MAX_OF_ACCOUNT = 1000
-- The nearest and the farthest date that is believed, from the error on.
local SHORTEST_WAIT, FARTHEST_DATE = 1000, 366 * 24 * 3600 * 1000
-- The actions that close a scope, and those that a dead session does not come to.
local CLOSES = { CoolDown = true, Restricted = true }
local SHOWS_LIFE = { CoolDown = true, Restricted = true, Denied = true, FixRequest = true }
-- Floods are counted by spans of so many ms, for an hour; of so many methods in each.
local SLOT, FLOODS_KEPT, MAX_FLOODED = 300000, 3600000, 64
-- An end that is later by no more than this is the same wait, told again.
local SAME_WAIT = 1000
-- The scopes of methods begin so.
local METHOD = 'method:'
-- The order in which escalations are told.
local ESCALATIONS = { 'E4', 'E5', 'E1', 'E2', 'E3' }

local function is_method(scope)
  return string.sub(scope, 1, #METHOD) == METHOD
end

-- Whether a key is before another, byte by byte: Lua itself compares as the server's locale does.
local function is_before(key, other)
  for i = 1, math.min(#key, #other) do
    local here, there = string.byte(key, i), string.byte(other, i)
    if here ~= there then
      return here < there
    end
  end
  return #key < #other
end

local function since(error)
  return math.min(error.occurred_at or now, now)
end

-- When the error's term ends, for a session that met it so many times before; nothing for an open
-- one.
local function term_end(error, from, times)
  if error.term == 'Length' then
    return from + error.length
  elseif error.term == 'Date' then
    return from + math.min(math.max(error.date - from, SHORTEST_WAIT), FARTHEST_DATE)
  elseif error.term == 'Growing' then
    return from + math.min(error.first * 2 ^ times, error.most)
  end
end

-- The narrow cool-down that ends first.
local function first_narrow(entries)
  local first
  for i, entry in ipairs(entries) do
    local best = entries[first]
    if not is_whole(entry.key) then
      local is_tie = best and entry.ends == best.ends
      if not best or entry.ends < best.ends or is_tie and is_before(entry.key, best.key) then
        first = i
      end
    end
  end
  return first
end

-- The end of what stands for a scope among some cool-downs, and where; 0 where nothing does.
local function standing_end(entries, key)
  for i, entry in ipairs(entries) do
    if entry.key == key then
      return entry.ends, i
    end
  end
  return 0, #entries + 1
end

-- Puts a cool-down among others: for each scope the one that ends later stays, and the spelling of
-- the first.
local function lengthen(entries, entry)
  local ends, at = standing_end(entries, entry.key)
  if entry.ends > ends then
    entry.subject = entries[at] and entries[at].subject or entry.subject
    entries[at] = entry
  end
end

-- Enters a cool-down that is not over, and returns the end of what then stands. When there are too
-- many, the narrow one that ends first becomes one of the whole session (E5).
local function enter(standing, entry, fired)
  local entries = { unpack(standing.cool_downs or {}) }
  local ends = math.max(standing_end(entries, entry.key), entry.ends)
  if entry.ends <= now then
    return ends
  end
  lengthen(entries, entry)
  while #entries > MAX_COOL_DOWNS do
    local first = table.remove(entries, first_narrow(entries))
    lengthen(entries, { key = 'session', ends = first.ends, rule = 'E5', cause = first.cause })
    fired.E5 = true
  end
  standing.cool_downs = entries
  return ends
end

-- Rests the whole session for an escalation.
local function rest_whole(standing, error, ends, fired, escalation)
  local entry = { key = 'session', ends = ends, rule = escalation, cause = error.cause }
  fired[escalation] = true
  enter(standing, entry, fired)
end

local function cool_down(error, ends)
  return {
    key = error.key,
    subject = error.subject,
    ends = ends,
    rule = error.rule,
    cause = error.cause,
  }
end

-- How often a growing term came back, this time included, and whether it is longer for that.
local function grow(standing, error, policy)
  local from, growth = since(error), nil
  for _, each in ipairs(standing.growth or {}) do
    growth = each.rule == error.rule and each or growth
  end
  local has_grown = false
  if not growth then
    growth = { rule = error.rule, times = 0, ends = 0 }
    standing.growth = standing.growth or {}
    table.insert(standing.growth, growth)
  elseif from >= growth.ends + error.most then
    growth.times = 0
  elseif from >= growth.ends then
    has_grown = not policy.disabled
    growth.times = has_grown and growth.times + 1 or 0
  end
  growth.ends = math.max(growth.ends, term_end(error, from, growth.times))
  return growth.times, has_grown
end

-- E1: several methods of the session flooded.
local function escalate_methods(standing, error, policy, fired)
  local floods, count = standing.floods or {}, 0
  local method = string.sub(error.key, #METHOD + 1)
  floods[method] = math.max(floods[method] or 0, since(error))
  for each, at in pairs(floods) do
    if at < now - policy.session_window then
      floods[each] = nil
    else
      count = count + 1
    end
  end
  standing.floods = count > 0 and floods or nil
  if count < policy.session_methods then
    return
  end
  standing.floods = nil
  local latest = 0
  for _, entry in ipairs(standing.cool_downs or {}) do
    if is_method(entry.key) then
      latest = math.max(latest, entry.ends)
    end
  end
  rest_whole(standing, error, math.min(latest, now + policy.session_rest), fired, 'E1')
end

-- Makes room in a hash of MAX_BRAKES methods by dropping what is past, and tells whether there is.
local function has_room(key, method, is_past)
  if redis.call('HEXISTS', key, method) == 1 or redis.call('HLEN', key) < MAX_BRAKES then
    return true
  end
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    if is_past(cmsgpack.unpack(all[i + 1])) then
      redis.call('HDEL', key, all[i])
    end
  end
  return redis.call('HLEN', key) < MAX_BRAKES
end

-- Brakes the method of an error in the whole pool.
local function brake(error, ends)
  local function is_past(kept)
    return kept.ends <= now
  end
  if ends <= now or not has_room(BRAKES, error.key, is_past) then
    return
  end
  local packed = redis.call('HGET', BRAKES, error.key)
  local known = packed and cmsgpack.unpack(packed)
  if not known or known.ends < ends then
    local kept = cool_down(error, ends)
    kept.rule, kept.subject = 'E3', known and known.subject or kept.subject
    redis.call('HSET', BRAKES, error.key, cmsgpack.pack(kept))
  end
end

-- E3: several sessions flooded on the method.
local function escalate_sessions(name, error, ends, policy)
  local oldest = now - policy.method_window
  local function is_past(kept)
    for _, at in pairs(kept) do
      if at >= oldest then
        return false
      end
    end
    return true
  end
  if not has_room(BURSTS, error.key, is_past) then
    return false
  end
  local packed = redis.call('HGET', BURSTS, error.key)
  local burst, count = packed and cmsgpack.unpack(packed) or {}, 0
  burst[name] = math.max(burst[name] or 0, since(error))
  for session, at in pairs(burst) do
    if at < oldest then
      burst[session] = nil
    else
      count = count + 1
    end
  end
  if count >= policy.method_sessions then
    redis.call('HDEL', BURSTS, error.key)
    brake(error, math.min(ends, now + policy.method_brake))
    return true
  elseif count > 0 then
    redis.call('HSET', BURSTS, error.key, cmsgpack.pack(burst))
  else
    redis.call('HDEL', BURSTS, error.key)
  end
  return false
end

-- Counts a flood on a method: {key, method}.
local function count_flood(flooded, from)
  local start = from - from % SLOT
  if start + FLOODS_KEPT <= now then
    return
  end
  local field = '\0' .. (start % FLOODS_KEPT) / SLOT
  local packed = redis.call('HGET', TRAIL, field)
  local slot = packed and cmsgpack.unpack(packed)
  if not slot or slot.start ~= start then
    slot = { start = start, methods = {} }
  end
  local methods, key, known = slot.methods, flooded.key, 0
  for each in pairs(methods) do
    known = known + (each == '' and 0 or 1)
  end
  if not methods[key] and known >= MAX_FLOODED then
    key = ''
  end
  methods[key] = methods[key] or { method = key == '' and '' or flooded.method, count = 0 }
  methods[key].count = methods[key].count + 1
  redis.call('HSET', TRAIL, field, cmsgpack.pack(slot))
end

-- The account of a session, if it is known (add.lua).
local function account_of(name)
  local known = redis.call('HGET', SESSION, name)
  return known and string.match(known, '^%d+ %S+ [^ %z]+ ([^ %z]+)%z')
end

-- What an error that closes a scope until some end, or a dead account, does to the sessions of the
-- account, but for the one that has it behind it: how many it concerns.
local function reach_account(account, but, error, ends, by)
  local closes = CLOSES[error.action] and error.key and ends and ends > now
  if not closes and error.action ~= 'Invalidated' then
    return 0
  end
  local from, to, touched = '[' .. account .. '\0', '(' .. account .. '\1', 0
  local members = redis.call('ZRANGEBYLEX', ACCOUNTS, from, to, 'LIMIT', 0, MAX_OF_ACCOUNT)
  for _, member in ipairs(members) do
    local name = string.sub(member, #account + 2)
    if name ~= but then
      local standing = settle_session(name)
      touched = touched + (standing.invalid and 0 or 1)
      if closes then
        local before = unindex(name, standing)
        enter(standing, cool_down(error, ends), {})
        index(name, standing, before)
      elseif not standing.invalid then
        local why = { reason = error.reason, detail = error.cause, by = by }
        take_out(name, standing, why, 'Invalidated')
      end
    end
  end
  return touched
end

-- What an error that closes a scope does to the session that met it: the escalations that fired,
-- when the scope opens, and when it would without an earlier cool-down.
local function close(name, standing, error, policy)
  local fired, from, times = {}, since(error), 0
  if error.term == 'Open' or not error.key then
    return fired
  elseif error.term == 'Growing' then
    times, fired.E4 = grow(standing, error, policy)
  end
  local ends = term_end(error, from, times)
  local stood = standing_end(standing.cool_downs or {}, error.key)
  local opens = enter(standing, cool_down(error, ends), fired)
  if error.flooded and ends > stood + SAME_WAIT then
    count_flood(error.flooded, from)
  end
  if error.action == 'CoolDown' and is_method(error.key) and not policy.disabled then
    escalate_methods(standing, error, policy, fired)
    if ends - from >= policy.session_wait then
      rest_whole(standing, error, math.min(ends, now + policy.session_rest), fired, 'E2')
    end
    if ends - from >= policy.method_wait then
      fired.E3 = escalate_sessions(name, error, ends, policy)
    end
  end
  return fired, opens, ends
end

-- Who holds the session and who held it last, as far as that is known.
local function holders(standing)
  local found, lease, ended = {}, standing.lease, last_end(standing)
  if lease then
    found[1] = { key = lease.key, purpose = lease.purpose }
  end
  if ended and ended.holder then
    found[#found + 1] = { key = ended.holder, purpose = '' }
  end
  return found
end

-- Why an error under a lease, which may probe, takes the session out of the pool, if it does.
local function fatal(error, probing, key)
  local reason = error.action == 'Invalidated' and error.reason
  if error.action == 'Verify' and probing then
    reason = 'KeyUnregistered'
  end
  return reason and { reason = reason, detail = error.cause, by = key }
end

-- Takes note of an error that a session met under a lease of some epoch and key. Tells what it did:
-- {ends?, fired?, account?, breach?}.
local function take_note(name, standing, error, epoch, key)
  local suspect, lease = standing.suspect, standing.lease
  local probing = is_probe(standing, epoch)
  local why = fatal(error, probing, key)
  local raises = error.action == 'Verify' and not suspect and not standing.invalid
  local effect = { breach = error.reason == 'KeyDuplicated' and holders(standing) or nil }
  local fired, ends = {}, nil
  if error.action == 'Verify' then
    effect.ends = term_end(error, since(error), 0)
  end
  if why and not standing.invalid then
    local is_own = lease and lease.epoch == epoch
    take_out(name, standing, why, is_own and 'Surrendered' or 'Invalidated')
  elseif raises or CLOSES[error.action] or probing and SHOWS_LIFE[error.action] then
    local before = unindex(name, standing)
    if raises then
      standing.suspect = { epoch = epoch, rule = error.rule, cause = error.cause }
      standing.suspect.by, standing.suspect.at = key, now
    elseif probing then
      standing.suspect = nil
    end
    if CLOSES[error.action] then
      local policy = pool.escalation and cmsgpack.unpack(pool.escalation) or error.escalation
      fired, effect.ends, ends = close(name, standing, error, policy)
    end
    index(name, standing, before)
    if raises then
      settlers().note(name, 'suspect', key, error.cause, now)
    end
  end
  effect.account = error.of_account and account_of(name) or nil
  if effect.account then
    reach_account(effect.account, name, error, ends, key)
  end
  for _, escalation in ipairs(ESCALATIONS) do
    if fired[escalation] then
      effect.fired = effect.fired or {}
      table.insert(effect.fired, escalation)
    end
  end
  return effect
end

-- How the session of a lease stands, and the epoch of the lease, if this key may report under it:
-- its holder, or the holder of the last one that the session remembers; a refusal, if not.
local function reporter(name, secret, key)
  local standing, refusal = held(name, secret, key)
  local ended = last_end(standing)
  if not refusal then
    return standing, standing.lease.epoch
  elseif ended and ended.secret == secret then
    if ended.holder and ended.holder ~= key then
      return nil, nil, { 'not_holder' }
    end
    return standing, ended.epoch
  end
  return nil, nil, refusal
end

-- What report and afflict do.
return {
  report = function(name, secret, key, error)
    local standing, epoch, refusal = reporter(name, secret, key)
    if not standing then
      return nil, refusal
    end
    local effect = take_note(name, standing, error, epoch, key)
    effect.state = state(standing)
    return effect
  end,
  afflict = function(account, error, by)
    return reach_account(account, nil, error, term_end(error, since(error), 0), by)
  end,
}
