-- Piece: what the scopes of an ask mean for a session. Needs selector.lua.
--
-- A session cools down for a scope while an entry for it stands in its standing, settled or not.
-- What is due of the asked scopes is settled first, so an entry that is over stays in the way only
-- where more is due than one call settles.

-- The most entries of one list that the search for the soonest session looks at.
local WALK_LIMIT = 256

-- Settles what is due in the scopes, boundedly.
local function settle_scopes(scopes)
  for _, scope in ipairs(scopes) do
    local from, to = '[' .. scope .. '\0', '(' .. scope .. place('', now + 1)
    local over = redis.call('ZRANGEBYLEX', SCOPES, from, to, 'LIMIT', '0', SETTLE_LIMIT)
    for _, member in ipairs(over) do
      local name = placed(member, #scope)
      settlers().thaw(name, read_standing(name))
    end
  end
end

-- The latest end of a cool-down of a session for one of the scopes, if there is one.
local function cools_until(standing, scopes)
  local ends
  for _, entry in ipairs(standing.cool_downs or {}) do
    for _, scope in ipairs(scopes) do
      if entry.key == scope then
        ends = math.max(ends or 0, entry.ends)
      end
    end
  end
  return ends
end

-- The moment from which a session that will be free at some moment can be lent for the scopes, and
-- what ends then.
local function ready_at(standing, scopes, at, cause)
  local ends = cools_until(standing, scopes)
  if ends and ends > at then
    return ends, 'cool_down'
  end
  return at, cause
end

-- Walks along one list in the order of its moments: the soonest moment that a session of it which
-- matches can be lent for the scopes, if that is sooner than the best so far, and what ends then.
-- Where the walk grows too long, the next moment of the list is taken: never too late a one.
-- `few(from, count)` gives names and moments.
local function walk(best, best_cause, cause, few, selector, scopes, free_only)
  local looked, chunk = 0, FIRST_CHUNK
  repeat
    local names, moments = few(looked, chunk)
    for i, name in ipairs(names) do
      if best and moments[i] >= best then
        return best, best_cause
      elseif looked == WALK_LIMIT then
        return moments[i], cause
      end
      looked = looked + 1
      if session_matches(selector, name) then
        local standing = read_standing(name)
        if not free_only or seat(standing) == FREE then
          local at, its_cause = ready_at(standing, scopes, moments[i], cause)
          best, best_cause = sooner(best, best_cause, at, its_cause)
        end
      end
    end
    local is_last = #names < chunk
    chunk = 2 * chunk
  until is_last
  return best, best_cause
end

-- The sessions of a sorted set, by score.
local function by_score(key)
  return function(from, count)
    local names, moments = {}, {}
    local found = redis.call('ZRANGE', key, from, from + count - 1, 'WITHSCORES')
    for i = 1, #found / 2 do
      names[i], moments[i] = found[2 * i - 1], tonumber(found[2 * i])
    end
    return names, moments
  end
end

-- The sessions that cool down for a scope, by the end of that.
local function by_end(scope)
  local first, last = range_of(scope)
  return function(from, count)
    local names, moments = {}, {}
    local found = redis.call('ZRANGEBYLEX', SCOPES, first, last, 'LIMIT', from, count)
    for i, member in ipairs(found) do
      names[i], moments[i] = placed(member, #scope)
    end
    return names, moments
  end
end

-- The soonest moment that a session of these lists, or a free one, which matches can be lent for
-- the scopes; what ends then, and whether any session matches.
local function soonest_for(selector, scopes, lists)
  local best, cause
  for _, list in ipairs(lists) do
    best, cause = walk(best, cause, list[2], by_score(list[1]), selector, scopes, false)
  end
  for _, scope in ipairs(scopes) do
    best, cause = walk(best, cause, 'cool_down', by_end(scope), selector, scopes, true)
  end
  return best, cause, best ~= nil or any_match(selector)
end
