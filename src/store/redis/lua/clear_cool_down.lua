-- clear_cool_down: ends a cool-down of a session, or the brake on a method in the whole pool,
-- before its time. Idempotent.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 session, or empty for a brake · 2 the scope's key · 3 who does it · 4 why
-- returns {session, now, its name, what is known of it, how it stands}, or {cleared} for a brake
-- refuses pool_not_found · session_not_found
if not pool then
  return { 'pool_not_found' }
end
local name, key = ARGV[1], ARGV[2]
local what = ARGV[4] ~= '' and key .. ': ' .. ARGV[4] or key
settle()
if name == '' then
  local packed = redis.call('HGET', BRAKES, key)
  redis.call('HDEL', BRAKES, key)
  if packed and cmsgpack.unpack(packed).ends > now then
    settlers().note('', 'clear_cool_down', ARGV[3], what, now)
  end
  reconsider = true
  return { 'cleared' }
elseif not session_exists(name) then
  return { 'session_not_found' }
end
local standing = settle_session(name)
local kept = {}
for _, entry in ipairs(standing.cool_downs or {}) do
  kept[#kept + 1] = entry.key ~= key and entry or nil
end
if #kept < #(standing.cool_downs or {}) then
  local before = unindex(name, standing)
  standing.cool_downs = #kept > 0 and kept or nil
  index(name, standing, before)
  settlers().note(name, 'clear_cool_down', ARGV[3], what, now)
end
return view(name, settle_session(name))
