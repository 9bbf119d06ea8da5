-- Piece: the clock of tests: milliseconds in a key, which is the last of KEYS.
local NOW = redis.call('GET', KEYS[#KEYS])
local now = tonumber(NOW)
