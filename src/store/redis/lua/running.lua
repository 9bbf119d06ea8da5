-- Piece: a walk along the running leases of a pool in the order of their expiry. Needs
-- standing.lua.

-- How many leases are looked at per command.
local CHUNK = 256

-- Whether a name comes before another, byte by byte, whatever the server's language.
local function precedes(name, other)
  for i = 1, math.min(#name, #other) do
    local one, two = string.byte(name, i), string.byte(other, i)
    if one ~= two then
      return one < two
    end
  end
  return #name < #other
end

-- The sessions of up to `most` running leases, with the expiry of each, from the first after the
-- mark {expires_at, session}, or from the first of all.
local function running_after(mark, most)
  local least, found, offset = now + 1, {}, 0
  if mark then
    least = math.max(least, mark.expires_at)
  end
  least = string.format('%d', least)
  repeat
    local range = { least, '+inf', 'WITHSCORES', 'LIMIT', offset, CHUNK }
    local seats = redis.call('ZRANGEBYSCORE', LEASES, unpack(range))
    for i = 1, #seats, 2 do
      local name, expires_at = seats[i], tonumber(seats[i + 1])
      local passed = mark and expires_at == mark.expires_at and not precedes(mark.session, name)
      if not passed and #found < most then
        found[#found + 1] = { session = name, expires_at = expires_at }
      end
    end
    offset = offset + CHUNK
  until #found >= most or #seats < 2 * CHUNK
  return found
end
