-- Piece: who is first in the line of free sessions. Needs selector.lua.
--
-- FREE, the members of a scope in COOLING and those of a label in READY are sorted alike, by last
-- use and name, and FREE has them all. So when a session that is in the way stands at rank r of
-- FREE and b of COOLING, those behind it are in the way, too, for just as long as the sessions at
-- r + j and b + j are the same: the end of that run is searched for, not walked to.

-- How much farther each step of the search for the end of a run reaches.
local STRIDE = 8

-- The first rank of FREE behind a run: the session at `rank`, which stands `here`, and those behind
-- it that have a member with this prefix in COOLING or READY, too.
local function behind_run(key, prefix, rank, here)
  local first = redis.call('ZRANK', key, prefix .. here)
  local function is_in_run(j)
    local free = redis.call('ZRANGE', FREE, rank + j, rank + j, 'WITHSCORES')
    local member = redis.call('ZRANGE', key, first + j, first + j)[1]
    return free[1] ~= nil and member == prefix .. place(free[1], tonumber(free[2]))
  end
  local inside, outside = 0, 1
  while is_in_run(outside) do
    inside, outside = outside, outside * STRIDE
  end
  while outside - inside > 1 do
    local middle = math.floor((inside + outside) / 2)
    if is_in_run(middle) then
      inside = middle
    else
      outside = middle
    end
  end
  return rank + outside
end

-- Which of these free sessions is the first that matches and cools down for none of the scopes. If
-- none is: what is in the way of the last one, as a set and a prefix in it, if a run may be.
local function first_open(selector, scopes, names, here)
  if #names == 0 then
    return nil
  end
  local labels = nil
  if #selector > 0 then
    labels = redis.call('HMGET', STANDING, unpack(names))
    for i, packed in ipairs(labels) do
      labels[i] = labels_of(packed)
    end
  end
  local cooling = {}
  for s, scope in ipairs(scopes) do
    local members = {}
    for i = 1, #names do
      members[i] = scope .. here[i]
    end
    cooling[s] = redis.call('ZMSCORE', COOLING, unpack(members))
  end
  local is_open, in_the_way
  for i = 1, #names do
    is_open, in_the_way = not labels or matches(selector, labels[i]), nil
    for s, scope in ipairs(scopes) do
      in_the_way = in_the_way or cooling[s][i] and scope
    end
    if is_open and not in_the_way then
      return i
    end
  end
  if in_the_way then
    return nil, COOLING, in_the_way
  end
  local label = labels and refused(selector, labels[#names])
  if label then
    return nil, READY, label
  end
end

-- The first session in the line, or in the line of those with a label, that matches and cools down
-- for none of the scopes.
local function first_in_line(selector, scopes, label)
  local from, to, chunk = 0, nil, FIRST_CHUNK
  if label then
    from, to = range_of(label)
  end
  repeat
    local names, here = {}, {}
    if label then
      for i, member in ipairs(redis.call('ZRANGEBYLEX', READY, from, to, 'LIMIT', '0', chunk)) do
        here[i] = string.sub(member, #label + 1)
        names[i] = placed(member, #label)
      end
    else
      local found = redis.call('ZRANGE', FREE, from, from + chunk - 1, 'WITHSCORES')
      for i = 1, #found / 2 do
        names[i] = found[2 * i - 1]
        here[i] = place(names[i], tonumber(found[2 * i]))
      end
    end
    local first, key, prefix = first_open(selector, scopes, names, here)
    if first then
      return names[first]
    end
    local is_last, last = #names < chunk, #names
    if is_last then
      return nil
    elseif not label then
      from = key and behind_run(key, prefix, from + last - 1, here[last]) or from + last
    elseif key then
      local rank = redis.call('ZRANK', FREE, names[last])
      rank = behind_run(key, prefix, rank, here[last])
      local open = redis.call('ZRANGE', FREE, rank, rank, 'WITHSCORES')
      if not open[1] then
        return nil
      end
      from = '[' .. label .. place(open[1], tonumber(open[2]))
    else
      from = '(' .. label .. here[last]
    end
    chunk = math.min(2 * chunk, LAST_CHUNK)
  until is_last
end

-- The least recently used free session that matches and cools down for none of the scopes.
local function first_free(selector, scopes)
  if #selector == 0 and #scopes == 0 then
    return redis.call('ZRANGE', FREE, 0, 0)[1]
  end
  local labels = rarest(selector, READY)
  if not labels then
    return first_in_line(selector, scopes)
  end
  local best, least
  for _, label in ipairs(labels) do
    local name = first_in_line(selector, scopes, label)
    local rank = name and redis.call('ZRANK', FREE, name)
    if rank and (not least or rank < least) then
      best, least = name, rank
    end
  end
  return best
end
