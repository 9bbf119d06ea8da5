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
-- Up to how many values of a key are looked for one by one where any would do.
local FEW_VALUES = 16

-- The first needle that is in some labels, and where.
local function find(needles, labels)
  for _, needle in ipairs(needles) do
    local from = string.find(labels, needle, 1, true)
    if from then
      return needle, from
    end
  end
end

-- The labels of a session, if it has any: what its standing begins with.
local function labels_of(packed)
  if packed then
    local _, labels = cmsgpack.unpack_one(packed)
    return labels
  end
end

local function matches(selector, labels)
  for _, requirement in ipairs(selector) do
    if (find(requirement[2], labels or '') ~= nil) ~= requirement[1] then
      return false
    end
  end
  return true
end

local function session_matches(selector, name)
  return #selector == 0 or matches(selector, labels_of(redis.call('HGET', STANDING, name)))
end

-- A label of these that the selector refuses.
local function refused(selector, labels)
  for _, requirement in ipairs(selector) do
    local needle, from
    if labels and not requirement[1] then
      needle, from = find(requirement[2], labels)
    end
    if needle then
      return string.match(labels, '[^\n]+', from)
    end
  end
end

-- Which of these sessions is the first that matches.
local function first_of(selector, names)
  if #names > 0 then
    for i, packed in ipairs(redis.call('HMGET', STANDING, unpack(names))) do
      if matches(selector, labels_of(packed)) then
        return i
      end
    end
  end
end

-- The range of a label's members in INDEX and READY.
local function range_of(label)
  return '[' .. label .. '\0', '(' .. label .. '\1'
end

-- Whether a session with a label matches. The label "" has all.
local function any_labelled(selector, label)
  local from, to = range_of(label)
  local chunk = FIRST_CHUNK
  repeat
    local found = redis.call('ZRANGEBYLEX', INDEX, from, to, 'LIMIT', '0', chunk)
    local names = {}
    for i, member in ipairs(found) do
      names[i] = string.match(member, '[^%z]*$')
    end
    if first_of(selector, names) then
      return true
    end
    local is_last = #found < chunk
    from, chunk = '(' .. (found[#found] or ''), math.min(2 * chunk, LAST_CHUNK)
  until is_last
  return false
end

-- The labels "key=value" of a key that stand in INDEX or READY, if they are few.
local function values_of(key, prefix)
  local labels, from = {}, '[' .. prefix
  local to = '(' .. string.sub(prefix, 1, -2) .. '>'
  while #labels <= FEW_VALUES do
    local member = redis.call('ZRANGEBYLEX', key, from, to, 'LIMIT', '0', 1)[1]
    if not member then
      return labels
    end
    labels[#labels + 1] = string.match(member, '^[^%z]+')
    from = '(' .. labels[#labels] .. '\1'
  end
end

-- The labels that a requirement accepts, where it asks for one; nothing where any other session
-- could do, too, or they are too many.
local function accepted(requirement, key)
  local needles = requirement[2]
  if not requirement[1] or #needles == 0 then
    return nil
  elseif string.sub(needles[1], -1) ~= '\n' then
    return values_of(key, string.sub(needles[1], 2))
  end
  local labels = {}
  for i, needle in ipairs(needles) do
    labels[i] = string.sub(needle, 2, -2)
  end
  return labels
end

-- The labels that one requirement accepts, where that requirement accepts the fewest sessions in
-- INDEX or READY, and how many; nothing when no requirement accepts a few labels only.
local function rarest(selector, key)
  local least, fewest
  for _, requirement in ipairs(selector) do
    local labels = accepted(requirement, key)
    if labels then
      local size = 0
      for _, label in ipairs(labels) do
        size = size + redis.call('ZLEXCOUNT', key, range_of(label))
      end
      if not fewest or size < fewest then
        least, fewest = labels, size
      end
    end
  end
  return least, fewest
end

-- Whether any session matches.
local function any_match(selector)
  for _, label in ipairs(rarest(selector, INDEX) or { '' }) do
    if any_labelled(selector, label) then
      return true
    end
  end
  return false
end

-- The first session of a sorted set, in its order, that matches: its score.
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
      return tonumber(found[2 * first])
    end
    local is_last = #names < chunk
    from, chunk = from + chunk, math.min(2 * chunk, LAST_CHUNK)
  until is_last
end

-- The soonest moment in these lists of a session that has one of the labels and matches, what ends
-- then, and whether any session matches.
local function soonest_labelled(selector, labels, lists)
  local soonest, any = {}, false
  for _, label in ipairs(labels) do
    local from, to = range_of(label)
    for _, member in ipairs(redis.call('ZRANGEBYLEX', INDEX, from, to)) do
      local name = string.sub(member, #label + 2)
      if session_matches(selector, name) then
        for i, list in ipairs(lists) do
          local at = tonumber(redis.call('ZSCORE', list[1], name) or nil)
          soonest[i] = sooner(soonest[i], nil, at)
        end
        any = true
      end
    end
  end
  local best, cause
  for i, list in ipairs(lists) do
    best, cause = sooner(best, cause, soonest[i], list[2])
  end
  return best, cause, any
end

-- The soonest moment in these lists of a session that matches, what ends then, and whether any
-- matches at all.
local function soonest_match(selector, lists)
  local labels, few = rarest(selector, INDEX)
  local others = 0
  for _, list in ipairs(lists) do
    others = others + redis.call('ZCARD', list[1])
  end
  -- When looking at each session with a label costs less than walking along all that will be free.
  if labels and few * few <= math.max(others, ALWAYS_RARE) then
    return soonest_labelled(selector, labels, lists)
  end
  local best, cause
  for _, list in ipairs(lists) do
    best, cause = sooner(best, cause, first_match(selector, list[1]), list[2])
  end
  return best, cause, best ~= nil or any_match(selector)
end
