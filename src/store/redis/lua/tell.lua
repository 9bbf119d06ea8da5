-- Piece: what all brokers hear at once, on the channel "prefix:notices". Needs standing.lua.

-- Tells something of this pool: a word, and what belongs to it.
local function tell(what, more)
  local prefix, here = string.match(META, '^(.*):{([^}]*)}:meta$')
  redis.call('PUBLISH', prefix .. ':notices', what .. ' ' .. here .. ' ' .. more)
end

-- Tells that something is due: "due pool milliseconds".
local function tell_due(after)
  tell('due', string.format('%d', after))
end

-- Tells that a lease was ended against its holder's will: "ended pool session epoch cause".
local function tell_ended(name, ended)
  tell('ended', string.format('%s %d %s', name, ended.epoch, ended.cause))
end
