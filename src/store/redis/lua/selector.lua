-- Piece: which sessions a selector matches. Needs standing.lua and counts.lua.
--
-- A selector crosses as a list of {wanted, needles}. It matches a session when, for each of them,
-- one of the needles stands in the head of what is known of the session exactly if that is wanted.
-- A needle is "\nkey=value\n", or "\nkey=" for any value.

-- How many sessions are looked at per command.
local CHUNK = 64
-- Up to how many sessions a label counts as rare at any size of the pool, squared.
local ALWAYS_RARE = 256

local function matches(selector, record)
  local head = string.sub(record, 1, string.find(record, '\0', 1, true))
  for _, requirement in ipairs(selector) do
    local found = false
    for _, needle in ipairs(requirement[2]) do
      found = found or string.find(head, needle, 1, true) ~= nil
    end
    if found ~= requirement[1] then
      return false
    end
  end
  return true
end

local function session_matches(selector, name)
  return #selector == 0 or matches(selector, redis.call('HGET', SESSION, name))
end

-- The first member of a sorted set, in its order, that names a matching session: its name and
-- score. Members are names after `skip` bytes.
local function first_match(selector, key, skip)
  for from = 0, redis.call('ZCARD', key) - 1, CHUNK do
    local found = redis.call('ZRANGE', key, from, from + CHUNK - 1, 'WITHSCORES')
    local names = {}
    for i = 1, #found, 2 do
      names[#names + 1] = string.sub(found[i], skip + 1)
    end
    for i, record in ipairs(redis.call('HMGET', SESSION, unpack(names))) do
      if matches(selector, record) then
        return names[i], tonumber(found[2 * i])
      end
    end
  end
end

local function range_of(label)
  return '[' .. label .. '\0', '(' .. label .. '\1'
end

-- The labels that one requirement accepts, where that requirement accepts the fewest sessions, and
-- how many; nothing when no requirement names a value.
local function rarest(selector)
  local least, fewest
  for _, requirement in ipairs(selector) do
    if requirement[1] and string.sub(requirement[2][1] or '', -1) == '\n' then
      local accepted, size = {}, 0
      for _, needle in ipairs(requirement[2]) do
        local label = string.sub(needle, 2, -2)
        accepted[#accepted + 1] = label
        size = size + redis.call('ZLEXCOUNT', LABELS, range_of(label))
      end
      if not fewest or size < fewest then
        least, fewest = accepted, size
      end
    end
  end
  return least, fewest
end

-- The matching sessions among those with a rare label.
local function rare_matches(selector, rare)
  local names = {}
  for _, label in ipairs(rare) do
    for _, member in ipairs(redis.call('ZRANGEBYLEX', LABELS, range_of(label))) do
      local name = string.sub(member, #label + 2)
      if session_matches(selector, name) then
        names[#names + 1] = name
      end
    end
  end
  return names
end

-- The rare matches, when the selector names a label so rare that looking at each of its sessions
-- costs less than walking along `others` of them.
local function few_matches(selector, others)
  local rare, few = rarest(selector)
  if rare and few * few <= math.max(others, ALWAYS_RARE) then
    return rare_matches(selector, rare)
  end
end

-- The least recently used free session that matches.
local function first_free(selector)
  local few = few_matches(selector, redis.call('ZCARD', FREE))
  if not few then
    return (first_match(selector, FREE, 0))
  end
  local best, least
  for _, name in ipairs(few) do
    local rank = redis.call('ZRANK', FREE, name)
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

-- The soonest release of a session that matches, as next_release, and whether any matches at all.
local function next_match(selector)
  local standing = redis.call('ZCARD', LEASES) + redis.call('ZCARD', RESTS)
  local few = few_matches(selector, standing)
  if few then
    local lease, rest
    for _, name in ipairs(few) do
      lease = earlier(lease, tonumber(redis.call('ZSCORE', LEASES, name) or nil))
      rest = earlier(rest, tonumber(redis.call('ZSCORE', RESTS, name) or nil))
    end
    local after, cause = sooner(lease, rest)
    return after, cause, #few > 0
  end
  local _, lease = first_match(selector, LEASES, 0)
  local _, rest = first_match(selector, RESTS, 0)
  local after, cause = sooner(lease, rest)
  return after, cause, after >= 0
end

-- Whether any session of the pool matches, however it stands.
local function any_matches(selector)
  local names = '(\1'
  local from = '[\0'
  repeat
    local found = redis.call('ZRANGEBYLEX', LABELS, from, names, 'LIMIT', 0, CHUNK)
    for _, member in ipairs(found) do
      if session_matches(selector, string.sub(member, 2)) then
        return true
      end
      from = '(' .. member
    end
  until #found < CHUNK
  return false
end
