-- many: Acquires, Enqueues and Releases of a pool in one run, each as if it came alone.
--
-- Those that are plain have been done when this begins (plain.lua). For the others, what is due is
-- settled once, because no part of a run lets time pass, and whether anybody waits is asked once,
-- until one may have joined the line.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    for each part: its verb, how many arguments it has, its arguments
-- returns {answer, ...}: what each verb returns, or {failed, what the server said}; a part that
--         fails leaves the others alone
local VERBS = { acquire = acquire, enqueue = enqueue, release = release }
if pool then
  settle()
end
settle = function() end
local serve_line = serve_waiters
if redis.call('EXISTS', WAITERS) == 0 then
  serve_waiters = function()
    freed = {}
  end
end

local function do_part(verb, arguments)
  if verb == enqueue then
    serve_waiters = serve_line
  end
  local answer = verb(arguments)
  serve_waiters()
  return answer
end

for part, answered in ipairs(answers) do
  if not answered then
    local at = starts[part]
    local arguments = { unpack(ARGV, at + 2, at + 1 + ARGV[at + 1]) }
    local done, answer = pcall(do_part, VERBS[ARGV[at]], arguments)
    if not done then
      answer = { 'failed', tostring(type(answer) == 'table' and answer.err or answer) }
    end
    answers[part] = answer
  end
end
return answers
