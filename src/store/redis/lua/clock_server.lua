-- Piece: the clock. The server's own time, in whole milliseconds, is the only one.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
