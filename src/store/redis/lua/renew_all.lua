-- renew_all: extends leases of a pool from now, each as renew.lua does.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 key · 2 wished TTL in ms, or empty · then session and secret of each lease, at most
--         256 of them
-- returns {each, answer of renew.lua, ...}
return each_lease(3, 2, function(at)
  return extend(ARGV[at], ARGV[at + 1], ARGV[1], tonumber(ARGV[2]))
end)
