-- Piece: how sessions stand, and where. Every verb of a pool starts with it.
--
-- What a plain acquire and release do is kept short: a function costs about a fifth of a command to
-- make, in every call, and a number as an argument of a command half as much as the command. So
-- what is seldom needed is made when it is, and numbers that are always the same are written as
-- text.
--
-- KEYS of every verb of a pool, in this order:
--   meta      STRING  the pool's record: what plain calls need as a row of values, packed one
--                     behind the other (write_record), then all of it as a map
--   session   HASH    name -> what is known of the session: a head in text (see add.lua), a zero
--                     byte, and a record of its secret parts, which only the broker reads
--   standing  HASH    name -> how the session stands, packed
--   free      ZSET    free sessions by last use
--   leases    ZSET    leased sessions by expiry
--   rests     ZSET    resting sessions by the end of their rest
--   requests  HASH    secret of a living lease, and "key\0request id" where it has one -> session
--   index     ZSET    "\0name" and "key=value\0name" of every session, all with score 0
--   ready     ZSET    "key=value\0last use, name" of every free session, all with score 0
--   floods    ZSET    sessions that cool down as a whole, by the end of that
--   suspects  ZSET    suspect sessions by the moment from which they may be probed
--   thaws     ZSET    sessions that cool down for narrow scopes by the soonest end of one
--   scopes    ZSET    "scope\0end, name" of every narrow cool-down, all with score 0
--   cooling   ZSET    "scope\0last use, name" of every narrow one of a free session, all with
--                     score 0 (for these three see place)
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
--   trail     HASH    name, or nothing for the pool itself -> what was done to it: "next number,
--                     how many\0", and the events, each a row, the oldest first; "\0" and a number
--                     from 0 to 11 -> the floods of five minutes of an hour, packed: {start,
--                     methods = {key -> {method, count}}}
--
-- A session that is not INVALID stands in exactly one of free, leases, rests, floods and suspects.
-- The cool-downs of one that is INVALID stand in its standing only.
assert(#KEYS >= 24, 'a verb of a pool needs twenty-four keys')
local META, SESSION, STANDING = KEYS[1], KEYS[2], KEYS[3]
local FREE, LEASES, RESTS = KEYS[4], KEYS[5], KEYS[6]
local REQUESTS, INDEX, READY = KEYS[7], KEYS[8], KEYS[9]
local FLOODS, SUSPECTS, THAWS = KEYS[10], KEYS[11], KEYS[12]
local SCOPES, COOLING, ACCOUNTS = KEYS[13], KEYS[14], KEYS[15]
local BRAKES, BURSTS = KEYS[16], KEYS[17]
local WAITERS, LINE, LINES = KEYS[18], KEYS[19], KEYS[20]
local ARRIVALS, PATIENCE, TURNS, TRAIL = KEYS[21], KEYS[22], KEYS[23], KEYS[24]

-- Sessions that have become free, or can be probed, and are to be offered to the line.
local freed = {}
-- Whether all that is free is to be offered to all that wait.
local reconsider = false

-- The pool's record, if there is such a pool. The part of its policy that only reports need stays
-- packed (record.lua).
local record = redis.call('GET', META)
local pool = record and select(8, cmsgpack.unpack(record)) or nil
-- What is remembered of a deleted pool (delete_pool.lua) is no pool.
local past = pool and pool.deleted_at and pool
if past then
  pool = nil
end

-- Writes the record down after a change. plain.lua reads the row by its places.
local function write_record()
  local policy = pool.policy
  local row = cmsgpack.pack(pool.mode, pool.hold_until or 0, policy.default_ttl, policy.min_ttl,
    policy.max_ttl, policy.max_lifetime, policy.rest)
  redis.call('SET', META, row .. cmsgpack.pack(pool))
end

-- A moment as text, because a number as an argument of a command costs half as much as the command.
-- Most of a run are now, or the same as the one before.
local last_moment, last_text = now, NOW
local function text(moment)
  if moment == now then
    return NOW
  elseif moment ~= last_moment then
    last_moment, last_text = moment, string.format('%d', moment)
  end
  return last_text
end

-- How a session stands: {labels?, epoch, last_used, rest_until, lease?, invalid?, ended?, suspect?,
-- cool_downs? = [{key, ends, rule, cause, subject?}], floods? = {method -> since},
-- growth? = [{rule, times, ends}]}. What is empty is absent; labels are "\nkey=value\n...\n".
-- A list of cool-downs is never changed, but replaced, so that two are the same exactly when
-- nothing of them has changed.
--
-- It is kept as a row of values, packed one behind the other, because a map takes three times as
-- long: what all have, then what few have as one map, then how the last lease ended as a row of its
-- own (last_end), then the lease. `kept.rs` reads the same.
local NOTHING = {}
local function unpack_standing(packed)
  local labels, epoch, last_used, rest_until, trouble, ended, secret, key, purpose, request, digest,
    granted_at, expires_at, max_expires_at, ttl, deliveries, renewals = cmsgpack.unpack(packed)
  trouble = trouble or NOTHING
  return {
    labels = labels,
    epoch = epoch,
    last_used = last_used,
    rest_until = rest_until,
    invalid = trouble.invalid,
    suspect = trouble.suspect,
    cool_downs = trouble.cool_downs,
    floods = trouble.floods,
    growth = trouble.growth,
    ended = ended,
    lease = secret and {
      secret = secret,
      epoch = epoch,
      key = key,
      purpose = purpose,
      request = request,
      digest = digest,
      granted_at = granted_at,
      expires_at = expires_at,
      max_expires_at = max_expires_at,
      ttl = ttl,
      deliveries = deliveries,
      renewals = renewals,
    } or nil,
  }
end

local function pack_standing(standing)
  local invalid, suspect, cool_downs = standing.invalid, standing.suspect, standing.cool_downs
  local floods, growth, lease, trouble = standing.floods, standing.growth, standing.lease, nil
  if invalid or suspect or cool_downs or floods or growth then
    trouble = {
      invalid = invalid,
      suspect = suspect,
      cool_downs = cool_downs,
      floods = floods,
      growth = growth,
    }
  end
  if not lease then
    return cmsgpack.pack(standing.labels, standing.epoch, standing.last_used, standing.rest_until,
      trouble, standing.ended, nil)
  end
  return cmsgpack.pack(standing.labels, standing.epoch, standing.last_used, standing.rest_until,
    trouble, standing.ended, lease.secret, lease.key, lease.purpose, lease.request, lease.digest,
    lease.granted_at, lease.expires_at, lease.max_expires_at, lease.ttl, lease.deliveries,
    lease.renewals)
end

-- How the last lease that ended did: {secret, epoch, cause, at, holder?, detail?}, if one has.
local function last_end(standing)
  if standing.ended then
    local secret, epoch, cause, at, holder, detail = cmsgpack.unpack(standing.ended)
    return {
      secret = secret,
      epoch = epoch,
      cause = cause,
      at = at,
      holder = holder,
      detail = detail,
    }
  end
end

local function read_standing(name)
  local packed = redis.call('HGET', STANDING, name)
  if packed then
    return unpack_standing(packed)
  end
  return { epoch = 0, last_used = 0, rest_until = 0 }
end

-- Writes down how a session stands, and gives that as it is answered, too.
local function write_standing(name, standing)
  local packed = pack_standing(standing)
  redis.call('HSET', STANDING, name, packed)
  return packed
end

-- An ask crosses as such a row, too: {secret, key, purpose, ttl?, session?, request?, digest?,
-- retried, selector?, scopes?, probe}. See selector.lua for the selector.
local function read_ask(packed)
  local secret, key, purpose, ttl, session, request, digest, retried, selector, scopes, probe =
    cmsgpack.unpack(packed)
  return {
    secret = secret,
    key = key,
    purpose = purpose,
    ttl = ttl,
    session = session,
    request = request,
    digest = digest,
    retried = retried,
    selector = selector or NOTHING,
    scopes = scopes,
    probe = probe,
  }
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
  if standing.cool_downs then
    for _, entry in ipairs(standing.cool_downs) do
      if is_whole(entry.key) then
        cool = math.max(cool, entry.ends)
      end
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

-- What stands behind a label in READY and behind a scope in COOLING and SCOPES: a zero byte, a
-- moment in six bytes that sort, and the name. And the name and the moment in such a member, behind
-- a label or a scope of some length.
local function place(name, moment)
  return '\0' .. struct.pack('>I6', moment) .. name
end
local function placed(member, length)
  return string.sub(member, length + 8), struct.unpack('>I6', member, length + 2)
end

-- Lets a free session that has labels or narrow cool-downs into READY and COOLING with ZADD, or out
-- with ZREM.
local function line_up(verb, name, standing)
  local here, members = place(name, standing.last_used), {}
  local function take(member)
    if verb == 'ZADD' then
      members[#members + 1] = '0'
    end
    members[#members + 1] = member .. here
  end
  if standing.labels then
    for label in string.gmatch(standing.labels, '[^\n]+') do
      take(label)
    end
    redis.call(verb, READY, unpack(members))
  end
  if standing.cool_downs then
    members = {}
    for _, entry in ipairs(standing.cool_downs) do
      if not is_whole(entry.key) then
        take(entry.key)
      end
    end
    if members[1] then
      redis.call(verb, COOLING, unpack(members))
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
        members[entry.key .. place(name, entry.ends)] = true
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
    redis.call('ZADD', THAWS, text(is), name)
  end
  for member in pairs(new) do
    if not old[member] then
      redis.call('ZADD', SCOPES, '0', member)
    end
  end
end

-- Takes a session out of where it stands, and returns what index() must know of it. Always the
-- first write of a change: it needs no memory, so that a full server still takes sessions back. One
-- that is out has left FREE already, by a write that needs none either.
local function unindex(name, standing, is_out)
  if standing.invalid then
    return nil
  end
  local where, lease = seat(standing), standing.lease
  if not is_out then
    redis.call('ZREM', where, name)
  end
  if lease then
    if lease.request then
      redis.call('HDEL', REQUESTS, lease.secret, lease.key .. '\0' .. lease.request)
    else
      redis.call('HDEL', REQUESTS, lease.secret)
    end
  elseif where == FREE then
    line_up('ZREM', name, standing)
  end
  return standing.cool_downs
end

-- Puts a session where it stands now, and writes that down; gives it as it is answered.
local function index(name, standing, before)
  local after
  if not standing.invalid then
    local where, at = seat(standing)
    local lease = standing.lease
    redis.call('ZADD', where, text(at), name)
    if lease and lease.request then
      local request = lease.key .. '\0' .. lease.request
      redis.call('HSET', REQUESTS, lease.secret, name, request, name)
    elseif lease then
      redis.call('HSET', REQUESTS, lease.secret, name)
    elseif where == FREE then
      line_up('ZADD', name, standing)
    end
    if where == FREE or where == SUSPECTS then
      freed[#freed + 1] = name
    end
    after = standing.cool_downs
  end
  if before ~= after then
    index_narrow(name, before or {}, after or {})
  end
  return write_standing(name, standing)
end

local function rest(standing, from, span)
  standing.rest_until = span > 0 and from + span or 0
end

-- Ends the lease and remembers how. A grant that was undone leaves no use behind.
local function end_lease(standing, cause, at, detail)
  local lease = standing.lease
  standing.lease = nil
  standing.ended = cmsgpack.pack(lease.secret, lease.epoch, cause, at, lease.key, detail)
  if cause ~= 'Undone' then
    standing.last_used = at
  end
end
