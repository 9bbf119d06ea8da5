-- Piece: how sessions stand, and what is due. Every verb of a pool starts with it.
--
-- KEYS of every verb of a pool, in this order:
--   meta      STRING  the pool's record, packed
--   session   HASH    name -> what is known of the session: a head in text (see add.lua), a zero
--                     byte, and a record that only the broker reads
--   standing  HASH    name -> how the session stands, packed; absent until its first lease
--   free      ZSET    free sessions by last use
--   leases    ZSET    leased sessions by expiry
--   rests     ZSET    resting sessions by the end of their rest
--   requests  HASH    secret of a living lease, and "key\0request id" where it has one -> session
--   labels    HASH    name -> its labels, "\nkey=value\n...\n"; absent where it has none
--   index     ZSET    "\0name" and "key=value\0name" of every session, all with score 0
--   ready     ZSET    "key=value\0last use\0name" of every free session, all with score 0
--
-- A session that is not INVALID stands in exactly one of free, leases and rests.
assert(#KEYS >= 10, 'a verb of a pool needs ten keys')
local META, SESSION, STANDING = KEYS[1], KEYS[2], KEYS[3]
local FREE, LEASES, RESTS = KEYS[4], KEYS[5], KEYS[6]
local REQUESTS, LABELS, INDEX, READY = KEYS[7], KEYS[8], KEYS[9], KEYS[10]

-- The most expired leases, and the most ended rests, that one call settles.
local SETTLE_LIMIT = 64

-- What is remembered of a deleted pool (delete_pool.lua) is no pool.
local function read_pool()
  local packed = redis.call('GET', META)
  local pool = packed and cmsgpack.unpack(packed)
  return pool and not pool.deleted_at and pool
end

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

-- What a free session has in READY: sorted, its label first, then its seat among the free ones.
local function seats(name, last_used)
  local found = {}
  local labels = redis.call('HGET', LABELS, name)
  for label in string.gmatch(labels or '', '[^\n]+') do
    found[#found + 1] = string.format('%s\0%016.0f\0%s', label, last_used, name)
  end
  return found
end

-- Takes a session out of where it stands. Always the first write of a change: it needs no memory,
-- so that a full server still takes sessions back.
local function unindex(name, standing)
  local lease = standing.lease
  if lease then
    redis.call('ZREM', LEASES, name)
    if lease.request then
      redis.call('HDEL', REQUESTS, lease.secret, lease.key .. '\0' .. lease.request)
    else
      redis.call('HDEL', REQUESTS, lease.secret)
    end
  elseif standing.rest_until > 0 then
    redis.call('ZREM', RESTS, name)
  else
    redis.call('ZREM', FREE, name)
    for _, seat in ipairs(seats(name, standing.last_used)) do
      redis.call('ZREM', READY, seat)
    end
  end
end

-- Puts a session that is not leased where it stands now, and writes that down.
local function index(name, standing)
  if not standing.invalid then
    if standing.rest_until > 0 then
      redis.call('ZADD', RESTS, standing.rest_until, name)
    else
      redis.call('ZADD', FREE, standing.last_used, name)
      for _, seat in ipairs(seats(name, standing.last_used)) do
        redis.call('ZADD', READY, 0, seat)
      end
    end
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

local function expire(name, standing, drain)
  local expiry = standing.lease.expires_at
  unindex(name, standing)
  end_lease(standing, 'Expired', expiry)
  rest(standing, expiry, drain)
  index(name, standing)
end

local function end_rest(name, standing)
  unindex(name, standing)
  standing.rest_until = 0
  index(name, standing)
end

-- Settles what is due, boundedly.
local function settle(drain)
  local due = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, SETTLE_LIMIT)
  for _, name in ipairs(due) do
    expire(name, read_standing(name), drain)
  end
  due = redis.call('ZRANGEBYSCORE', RESTS, '-inf', now, 'LIMIT', 0, SETTLE_LIMIT)
  for _, name in ipairs(due) do
    end_rest(name, read_standing(name))
  end
end

-- Settles one session, because a call names it, and tells how it stands then.
local function settle_session(name, drain)
  local standing = read_standing(name)
  if standing.lease and standing.lease.expires_at <= now then
    expire(name, standing, drain)
  end
  if not standing.lease and standing.rest_until > 0 and standing.rest_until <= now then
    end_rest(name, standing)
  end
  return standing
end

local function session_exists(name)
  return redis.call('HEXISTS', SESSION, name) == 1
end

-- The answer of every verb that shows a session: what is known of it and how it stands.
local function view(name, standing)
  return { 'session', now, redis.call('HGET', SESSION, name), cmsgpack.pack(standing) }
end
