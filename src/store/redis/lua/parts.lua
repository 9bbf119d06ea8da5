-- Piece: the parts of a run: where in ARGV each begins, what it is answered, or false, and how many
-- are left to be answered. ARGV are those of many.lua.
local starts, answers, left = {}, {}, 0
do
  local at = 1
  while at < #ARGV do
    left = left + 1
    starts[left], answers[left] = at, false
    at = at + 2 + ARGV[at + 1]
  end
end
