-- Piece: the clock of tests: milliseconds in a key, which is the last of KEYS.
local now = tonumber(redis.call('GET', KEYS[#KEYS]))
