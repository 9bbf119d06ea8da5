-- many: several verbs of a pool in one run, each as if it came alone.
--
-- What is due is settled once, and whether anybody waits is asked once: no part of a run lets time
-- pass or joins the line.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    for each part: its verb, how many arguments it has, its arguments
-- returns {answer, ...}: what each verb returns, or {failed, what the server said}; a part that
--         fails leaves the others alone
local VERBS = { acquire = acquire, release = release }
if pool then
  settle()
end
settle = function() end
if redis.call('EXISTS', WAITERS) == 0 then
  serve_waiters = function()
    freed = {}
  end
end

local function part(verb, arguments)
  local answer = verb(arguments)
  serve_waiters()
  return answer
end

local answers, at, count = {}, 1, #ARGV
while at < count do
  local verb, first = VERBS[ARGV[at]], at + 2
  at = first + ARGV[at + 1]
  local done, answer = pcall(part, verb, { unpack(ARGV, first, at - 1) })
  if not done then
    answer = { 'failed', tostring(type(answer) == 'table' and answer.err or answer) }
  end
  answers[#answers + 1] = answer
end
return answers
