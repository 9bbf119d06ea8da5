-- Piece: what plain Acquires and Releases come to. All of a run are done together, by a few
-- commands, before the rules are made, which they do not need.
--
-- Plain is an Acquire that any session would do for, and a Release without an error, of sessions
-- without trouble, in a pool that nothing is due in and nobody waits for. All others are left to
-- the rules (many.lua), and so are those that find anything else than they look for. Both come to
-- the same: lend.lua, grant.lua, release.lua and standing.lua say what that is and why.
--
-- Needs parts.lua. When no part is left, that is all.
do
  local META, SESSION, STANDING = KEYS[1], KEYS[2], KEYS[3]
  local FREE, LEASES, RESTS = KEYS[4], KEYS[5], KEYS[6]
  local REQUESTS, READY, FLOODS, THAWS, WAITERS = KEYS[7], KEYS[9], KEYS[10], KEYS[12], KEYS[18]
  local call, pack, read = redis.call, cmsgpack.pack, cmsgpack.unpack

  -- Those that look plain.
  local asks, releases = {}, {}
  for part, at in ipairs(starts) do
    if ARGV[at] ~= 'release' then
      local secret, key, purpose, ttl, session, request, digest, retried, selector, scopes, probe =
        read(ARGV[at + 2])
      if not (session or retried or selector or scopes or probe) then
        local asked = request and key .. '\0' .. request
        asks[#asks + 1] = { part, asked, secret, key, purpose, ttl, request, digest }
      end
    elseif ARGV[at + 6] == '' then
      releases[#releases + 1] = part
    end
  end

  -- Whether the pool is one for them. A short row is that of no pool.
  local record = (asks[1] or releases[1]) and call('GET', META)
  local _, mode, hold_until, default_ttl, min_ttl, max_ttl, max_lifetime, least_rest
  if record then
    _, mode, hold_until, default_ttl, min_ttl, max_ttl, max_lifetime, least_rest =
      cmsgpack.unpack_limit(record, 7)
  end
  local function is_due(list)
    return call('ZCOUNT', list, '-inf', NOW) > 0
  end
  local function is_quiet()
    if is_due(LEASES) then
      return false
    end
    return call('EXISTS', WAITERS, RESTS, FLOODS, THAWS) == 0 or call('EXISTS', WAITERS) == 0
      and not is_due(RESTS) and not is_due(FLOODS) and not is_due(THAWS)
  end
  local is_plain = least_rest and mode ~= 'Deleted' and is_quiet()

  -- Runs a command for all that there is for it. What every call adds to is filled by number below,
  -- because asking how long a table is costs as much as adding to it.
  local function write(verb, list, members)
    if members[1] then
      call(verb, list, unpack(members))
    end
  end
  -- Adds the members of READY that a session has, with a score or without.
  local function line_up(members, labels, last_used, name, score)
    local place = '\0' .. struct.pack('>I6', last_used) .. name
    for label in string.gmatch(labels, '[^\n]+') do
      members[#members + 1] = score
      members[#members + 1] = label .. place
    end
  end

  if is_plain and releases[1] then
    local names, given = {}, {}
    for i, part in ipairs(releases) do
      names[i] = ARGV[starts[part] + 2]
    end
    local rows = call('HMGET', STANDING, unpack(names))
    local out, forgotten, free, resting, ready, written = {}, {}, {}, {}, {}, {}
    local count, released = 0, { 'released' }
    for i, part in ipairs(releases) do
      local name, at, row = names[i], starts[part], rows[i]
      -- Twice in a run: the second finds what the first has done.
      if row and not given[name] then
        local is_whole, labels, epoch, _, _, trouble, _, secret, key, _, request, _, _, expires_at =
          pcall(read, row)
        local is_holder = is_whole and secret == ARGV[at + 3] and key == ARGV[at + 4]
        if is_holder and not trouble and expires_at > now then
          given[name], count = true, count + 1
          out[count] = name
          forgotten[#forgotten + 1] = secret
          if request then
            forgotten[#forgotten + 1] = key .. '\0' .. request
          end
          local rest_until, rest = 0, math.max(tonumber(ARGV[at + 5]), least_rest)
          if rest > 0 then
            rest_until = now + rest
            resting[#resting + 1] = string.format('%d', rest_until)
            resting[#resting + 1] = name
          else
            free[#free + 1] = NOW
            free[#free + 1] = name
            if labels then
              line_up(ready, labels, now, name, '0')
            end
          end
          -- As end_lease() and pack_standing() have it.
          local ended = pack(secret, epoch, 'Released', now, key, nil)
          written[2 * count - 1] = name
          written[2 * count] = pack(labels, epoch, now, rest_until, nil, ended, nil)
          answers[part] = released
        end
      end
    end
    left = left - count
    -- First what needs no memory (unindex in standing.lua).
    write('ZREM', LEASES, out)
    write('HDEL', REQUESTS, forgotten)
    write('ZADD', FREE, free)
    write('ZADD', RESTS, resting)
    write('ZADD', READY, ready)
    write('HSET', STANDING, written)
  end

  if is_plain and asks[1] and mode == 'Active' and hold_until <= now then
    -- A request that was granted before, or comes twice in this run, is for the rules.
    local asked, seen, fresh, names = {}, {}, {}, {}
    for _, ask in ipairs(asks) do
      asked[#asked + 1] = ask[2]
    end
    local known = asked[1] and call('HMGET', REQUESTS, unpack(asked))
    for i, request in ipairs(asked) do
      seen[request] = known[i] or nil
    end
    for _, ask in ipairs(asks) do
      local request = ask[2]
      if not request or not seen[request] then
        seen[request or ask] = true
        fresh[#fresh + 1] = ask
      end
    end
    local popped = fresh[1] and call('ZPOPMIN', FREE, #fresh) or {}
    for i = 1, #popped / 2 do
      names[i] = popped[2 * i - 1]
    end
    local rows = names[1] and call('HMGET', STANDING, unpack(names))
    local sessions = names[1] and call('HMGET', SESSION, unpack(names))
    local back, ready, leased, requests, written = {}, {}, {}, {}, {}
    local count, last_ttl, expiry = 0, nil, nil
    for i, name in ipairs(names) do
      local part, asked_for, secret, key, purpose, ttl, request, digest = unpack(fresh[i], 1, 8)
      local is_whole, labels, epoch, last_used, rest_until, trouble, ended =
        pcall(read, rows[i] or '')
      if not is_whole or trouble or not rest_until then
        -- Back to its place, for the rules.
        back[#back + 1] = popped[2 * i]
        back[#back + 1] = name
      else
        ttl = math.min(math.max(ttl or default_ttl, min_ttl), max_ttl)
        epoch, count = math.max(epoch + 1, now), count + 1
        if ttl ~= last_ttl then
          last_ttl, expiry = ttl, string.format('%d', now + ttl)
        end
        leased[2 * count - 1] = expiry
        leased[2 * count] = name
        requests[#requests + 1] = secret
        requests[#requests + 1] = name
        if request then
          requests[#requests + 1] = asked_for
          requests[#requests + 1] = name
        end
        if labels then
          line_up(ready, labels, last_used, name)
        end
        -- As grant() and pack_standing() have it.
        local row = pack(labels, epoch, last_used, rest_until, nil, ended, secret, key, purpose,
          request, digest, now, now + ttl, now + max_lifetime, ttl, 1, nil)
        written[2 * count - 1] = name
        written[2 * count] = row
        answers[part] = { 'granted', now, 0, name, sessions[i], row }
      end
    end
    left = left - count
    write('ZADD', FREE, back)
    write('ZREM', READY, ready)
    write('ZADD', LEASES, leased)
    write('HSET', REQUESTS, requests)
    write('HSET', STANDING, written)
  end
end
if left == 0 then
  return answers
end
