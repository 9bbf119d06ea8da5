-- Piece: a pool's record, and how it is shown. Needs counts.lua.

-- Puts a policy in the record.
local function keep_policy(policy)
  pool.escalation = cmsgpack.pack(policy.escalation)
  policy.escalation = nil
  pool.policy = policy
end

-- The record as the broker reads it. Only with another policy is it written after that.
local function shown_record()
  pool.policy.escalation = pool.escalation and cmsgpack.unpack(pool.escalation)
  return cmsgpack.pack(pool)
end

-- What is kept of the floods of the last hour (effect.lua), packed.
local function floods()
  local fields, kept = {}, {}
  for i = 0, 11 do
    fields[i + 1] = '\0' .. i
  end
  for _, packed in ipairs(redis.call('HMGET', TRAIL, unpack(fields))) do
    if packed then
      kept[#kept + 1] = packed
    end
  end
  return kept
end

-- The answer of every verb that shows a pool.
local function pool_view()
  settle()
  serve_waiters()
  local at, cause = soonest_of(COMING)
  local answer = { 'pool', now, shown_record(), counts(), after(at, cause) }
  answer[7], answer[8], answer[9] = queue()
  answer[10] = floods()
  for _, packed in ipairs(redis.call('HVALS', BRAKES)) do
    answer[#answer + 1] = packed
  end
  return answer
end
