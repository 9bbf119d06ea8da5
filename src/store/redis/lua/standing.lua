-- Piece: how sessions stand, and where. Every verb of a pool starts with it.
--
-- What a plain acquire and release do is kept short: a function costs about a fifth of a command to
-- make, in every call, and a number as an argument of a command half as much as the command. So
-- what is seldom needed is made when it is, and numbers that are always the same are written as
-- text.
--
-- KEYS of every verb of a pool, in this order:
--   meta      STRING  the pool's record, packed
--   session   HASH    name -> what is known of the session: a head in text (see add.lua), a zero
--                     byte, and a record that only the broker reads
--   standing  HASH    name -> how the session stands, packed
--   free      ZSET    free sessions by last use
--   leases    ZSET    leased sessions by expiry
--   rests     ZSET    resting sessions by the end of their rest
--   requests  HASH    secret of a living lease, and "key\0request id" where it has one -> session
--   labels    HASH    name -> its labels, "\nkey=value\n...\n"; absent where it has none
--   index     ZSET    "\0name" and "key=value\0name" of every session, all with score 0
--   ready     ZSET    "key=value\0last use\0name" of every free session, all with score 0
--   floods    ZSET    sessions that cool down as a whole, by the end of that
--   suspects  ZSET    suspect sessions by the moment from which they may be probed
--   thaws     ZSET    sessions that cool down for narrow scopes by the soonest end of one
--   scopes    ZSET    "scope\0end\0name" of every narrow cool-down, all with score 0
--   cooling   ZSET    "scope\0last use\0name" of every narrow one of a free session, all with
--                     score 0
--   accounts  ZSET    "account\0name" of every session with a known account, all with score 0
--   brakes    HASH    scope of a method -> its brake in the whole pool, packed
--   bursts    HASH    scope of a method -> {session -> when it flooded last}, packed
--   waiters   HASH    "t" and a ticket -> a waiter, packed; "s" and the secret of the lease that
--                     it would get, and "r" and "key\0request id" where it has one -> its ticket
--   line      ZSET    "sub-line\0number\0since\0deadline\0ticket" of every waiter that is there,
--                     all with score 0. A sub-line is "digest of the demand\0class\0key"
--   lines     HASH    sub-line -> how many stand in it
--   arrivals  ZSET    tickets of waiters that are there, by number
--   patience  ZSET    tickets of all waiters by the end of their wait
--   turns     HASH    "k" and a key -> the hand-over at which it was last served; "#turn" and
--                     "#seq", the last numbers; "#due", when all brokers know that something is
--                     due; "#pace", in how many ms a waiter is served of late; "#since", when
--                     the last was served, or the line began to form
--   trail     HASH    name -> what was done to the session: "next number, how many\0", and the
--                     events, each packed, the oldest first
--
-- A session that is not INVALID stands in exactly one of free, leases, rests, floods and suspects.
-- The cool-downs of one that is INVALID stand in its standing only.
assert(#KEYS >= 25, 'a verb of a pool needs twenty-five keys')
local META, SESSION, STANDING = KEYS[1], KEYS[2], KEYS[3]
local FREE, LEASES, RESTS = KEYS[4], KEYS[5], KEYS[6]
local REQUESTS, LABELS, INDEX, READY = KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local FLOODS, SUSPECTS, THAWS = KEYS[11], KEYS[12], KEYS[13]
local SCOPES, COOLING, ACCOUNTS = KEYS[14], KEYS[15], KEYS[16]
local BRAKES, BURSTS = KEYS[17], KEYS[18]
local WAITERS, LINE, LINES = KEYS[19], KEYS[20], KEYS[21]
local ARRIVALS, PATIENCE, TURNS, TRAIL = KEYS[22], KEYS[23], KEYS[24], KEYS[25]

-- Sessions that have become free, or can be probed, and are to be offered to the line.
local freed = {}
-- Whether all that is free is to be offered to all that wait.
local reconsider = false

-- The pool's record, if there is such a pool. The part of its policy that only reports need stays
-- packed (record.lua).
local pool = redis.call('GET', META)
pool = pool and cmsgpack.unpack(pool)
-- What is remembered of a deleted pool (delete_pool.lua) is no pool.
local past = pool and pool.deleted_at and pool
if past then
  pool = nil
end

-- How a session stands: {epoch, last_used, rest_until, lease?, invalid?, ended?, suspect?,
-- cool_downs? = [{key, ends, rule, cause, subject?}], floods? = {method -> since},
-- growth? = [{rule, times, ends}]}. What is empty is absent. A list of cool-downs is never changed,
-- but replaced, so that two are the same exactly when nothing of them has changed.
local function read_standing(name)
  local packed = redis.call('HGET', STANDING, name)
  if packed then
    return cmsgpack.unpack(packed)
  end
  return { epoch = 0, last_used = 0, rest_until = 0 }
end

local function write_standing(name, standing)
  redis.call('HSET', STANDING, name, cmsgpack.pack(standing))
end

-- Whether a scope is the whole session. All others are narrow.
local function is_whole(scope)
  return scope == 'session' or scope == 'egress'
end

-- Where a session that is not INVALID stands, and at which moment.
local function seat(standing)
  if standing.lease then
    return LEASES, standing.lease.expires_at
  end
  local cool = 0
  for _, entry in ipairs(standing.cool_downs or {}) do
    if is_whole(entry.key) then
      cool = math.max(cool, entry.ends)
    end
  end
  if standing.suspect then
    return SUSPECTS, math.max(standing.rest_until, cool)
  elseif cool > 0 and cool >= standing.rest_until then
    return FLOODS, cool
  elseif standing.rest_until > 0 then
    return RESTS, standing.rest_until
  end
  return FREE, standing.last_used
end

-- Where a free session has its place in READY and COOLING, behind a label or a scope.
local function place(name, last_used)
  return string.format('\0%016.0f\0%s', last_used, name)
end

-- Lets a free session that has labels or narrow cool-downs out of READY and COOLING, or in.
local function line_up(name, standing, labels, is_in)
  local here = place(name, standing.last_used)
  local function move(key, member)
    if is_in then
      redis.call('ZADD', key, '0', member)
    else
      redis.call('ZREM', key, member)
    end
  end
  for label in string.gmatch(labels or '', '[^\n]+') do
    move(READY, label .. here)
  end
  for _, entry in ipairs(standing.cool_downs or {}) do
    if not is_whole(entry.key) then
      move(COOLING, entry.key .. here)
    end
  end
end

-- Keeps SCOPES and THAWS true when a list of cool-downs takes the place of another; takes out
-- first.
local function index_narrow(name, before, after)
  local function members_of(entries)
    local members, soonest = {}, nil
    for _, entry in ipairs(entries) do
      if not is_whole(entry.key) then
        members[string.format('%s\0%016.0f\0%s', entry.key, entry.ends, name)] = true
        soonest = math.min(soonest or entry.ends, entry.ends)
      end
    end
    return members, soonest
  end
  local old, was = members_of(before)
  local new, is = members_of(after)
  for member in pairs(old) do
    if not new[member] then
      redis.call('ZREM', SCOPES, member)
    end
  end
  if was and not is then
    redis.call('ZREM', THAWS, name)
  elseif is ~= was then
    redis.call('ZADD', THAWS, is, name)
  end
  for member in pairs(new) do
    if not old[member] then
      redis.call('ZADD', SCOPES, '0', member)
    end
  end
end

-- Takes a session out of where it stands, and returns what index() must know of it. Always the
-- first write of a change: it needs no memory, so that a full server still takes sessions back.
local function unindex(name, standing)
  if standing.invalid then
    return nil
  end
  local where, lease = seat(standing), standing.lease
  redis.call('ZREM', where, name)
  if lease then
    if lease.request then
      redis.call('HDEL', REQUESTS, lease.secret, lease.key .. '\0' .. lease.request)
    else
      redis.call('HDEL', REQUESTS, lease.secret)
    end
  elseif where == FREE then
    local labels = redis.call('HGET', LABELS, name)
    if labels or standing.cool_downs then
      line_up(name, standing, labels, false)
    end
  end
  return standing.cool_downs
end

-- Puts a session where it stands now, and writes that down.
local function index(name, standing, before)
  local after
  if not standing.invalid then
    local where, at = seat(standing)
    local lease = standing.lease
    redis.call('ZADD', where, at, name)
    if lease and lease.request then
      local request = lease.key .. '\0' .. lease.request
      redis.call('HSET', REQUESTS, lease.secret, name, request, name)
    elseif lease then
      redis.call('HSET', REQUESTS, lease.secret, name)
    elseif where == FREE then
      local labels = redis.call('HGET', LABELS, name)
      if labels or standing.cool_downs then
        line_up(name, standing, labels, true)
      end
    end
    if where == FREE or where == SUSPECTS then
      freed[#freed + 1] = name
    end
    after = standing.cool_downs
  end
  if before ~= after then
    index_narrow(name, before or {}, after or {})
  end
  write_standing(name, standing)
end

local function rest(standing, from, span)
  standing.rest_until = span > 0 and from + span or 0
end

-- Ends the lease and remembers how. A grant that was undone leaves no use behind.
local function end_lease(standing, cause, at)
  local lease = standing.lease
  standing.lease = nil
  standing.ended = {
    secret = lease.secret,
    epoch = lease.epoch,
    cause = cause,
    at = at,
    holder = lease.key,
  }
  if cause ~= 'Undone' then
    standing.last_used = at
  end
end
