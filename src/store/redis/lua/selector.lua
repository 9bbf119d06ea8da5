-- Piece: which sessions a selector matches. Needs standing.lua and counts.lua.
--
-- A selector crosses as a list of {wanted, needles}. It matches a session when, for each of them,
-- one of the needles stands in the session's labels exactly if that is wanted. A needle is
-- "\nkey=value\n", or "\nkey=" for any value.

-- How many sessions are looked at per command: at first, and at most. It doubles as the search
-- goes on.
local FIRST_CHUNK, LAST_CHUNK = 4, 512
-- Up to how many sessions a label counts as rare at any size of the pool, squared.
local ALWAYS_RARE = 256

local function matches(selector, labels)
  for _, requirement in ipairs(selector) do
    local found = false
    for _, needle in ipairs(requirement[2]) do
      found = found or string.find(labels or '', needle, 1, true) ~= nil
    end
    if found ~= requirement[1] then
      return false
    end
  end
  return true
end

local function session_matches(selector, name)
  return #selector == 0 or matches(selector, redis.call('HGET', LABELS, name))
end

-- Which of these sessions is the first that matches.
local function first_of(selector, names)
  if #names > 0 then
    for i, labels in ipairs(redis.call('HMGET', LABELS, unpack(names))) do
      if matches(selector, labels) then
        return i
      end
    end
  end
end

-- The first session of a sorted set, in its order, that matches: its name and score.
local function first_match(selector, key)
  local from, chunk = 0, FIRST_CHUNK
  repeat
    local found = redis.call('ZRANGE', key, from, from + chunk - 1, 'WITHSCORES')
    local names = {}
    for i = 1, #found, 2 do
      names[#names + 1] = found[i]
    end
    local first = first_of(selector, names)
    if first then
      return names[first], tonumber(found[2 * first])
    end
    local is_last = #names < chunk
    from, chunk = from + chunk, math.min(2 * chunk, LAST_CHUNK)
  until is_last
end

-- The first member of INDEX or READY from a label on that names a matching session, and the
-- session. The label "" has all sessions, in INDEX.
local function first_labelled(selector, key, label)
  local from, to, chunk = '[' .. label .. '\0', '(' .. label .. '\1', FIRST_CHUNK
  repeat
    local found = redis.call('ZRANGEBYLEX', key, from, to, 'LIMIT', 0, chunk)
    local names = {}
    for i, member in ipairs(found) do
      names[i] = string.match(member, '[^%z]*$')
    end
    local first = first_of(selector, names)
    if first then
      return found[first], names[first]
    end
    local is_last = #found < chunk
    from, chunk = '(' .. (found[#found] or ''), math.min(2 * chunk, LAST_CHUNK)
  until is_last
end

-- The labels that one requirement accepts, where that requirement accepts the fewest sessions in
-- INDEX or READY, and how many; nothing when no requirement names a value.
local function rarest(selector, key)
  local least, fewest
  for _, requirement in ipairs(selector) do
    if requirement[1] and string.sub(requirement[2][1] or '', -1) == '\n' then
      local accepted, size = {}, 0
      for _, needle in ipairs(requirement[2]) do
        local label = string.sub(needle, 2, -2)
        accepted[#accepted + 1] = label
        size = size + redis.call('ZLEXCOUNT', key, '[' .. label .. '\0', '(' .. label .. '\1')
      end
      if not fewest or size < fewest then
        least, fewest = accepted, size
      end
    end
  end
  return least, fewest
end

-- The least recently used free session that matches.
local function first_free(selector)
  local labels = rarest(selector, READY)
  if not labels then
    return (first_match(selector, FREE))
  end
  local best, least
  for _, label in ipairs(labels) do
    local _, name = first_labelled(selector, READY, label)
    local rank = name and redis.call('ZRANK', FREE, name)
    if rank and (not least or rank < least) then
      best, least = name, rank
    end
  end
  return best
end

-- The sooner of two moments, either of which may be missing.
local function earlier(one, other)
  return one and other and math.min(one, other) or one or other
end

-- The soonest release among all sessions that have one of these labels and match, and whether any
-- matches.
local function next_labelled(selector, labels)
  local lease, rest, any
  for _, label in ipairs(labels) do
    local range = { '[' .. label .. '\0', '(' .. label .. '\1' }
    for _, member in ipairs(redis.call('ZRANGEBYLEX', INDEX, range[1], range[2])) do
      local name = string.sub(member, #label + 2)
      if session_matches(selector, name) then
        lease = earlier(lease, tonumber(redis.call('ZSCORE', LEASES, name) or nil))
        rest = earlier(rest, tonumber(redis.call('ZSCORE', RESTS, name) or nil))
        any = true
      end
    end
  end
  local after, cause = sooner(lease, rest)
  return after, cause, any
end

-- The soonest release of a session that matches, as next_release, and whether any matches at all.
local function next_match(selector)
  local labels, few = rarest(selector, INDEX)
  -- When looking at each session with a label costs less than walking along all that will be free.
  local others = redis.call('ZCARD', LEASES) + redis.call('ZCARD', RESTS)
  if labels and few * few <= math.max(others, ALWAYS_RARE) then
    return next_labelled(selector, labels)
  end
  local _, lease = first_match(selector, LEASES)
  local _, rest = first_match(selector, RESTS)
  local after, cause = sooner(lease, rest)
  local any = after >= 0
  for _, label in ipairs(labels or { '' }) do
    any = any or first_labelled(selector, INDEX, label) ~= nil
  end
  return after, cause, any
end
