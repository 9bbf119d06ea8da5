-- Piece: the clock. The server's own time, in whole milliseconds, is the only one.
local time = redis.call('TIME')
local past_second = math.floor(time[2] / 1000)
local now = time[1] * 1000 + past_second
-- The same as text.
local NOW = time[1] .. string.sub(1000 + past_second, 2)
