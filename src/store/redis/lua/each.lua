-- Piece: a deed on each of some leases of a pool, each answered on its own. Needs standing.lua.

-- The most leases of one call.
local MOST_LEASES = 256

-- Does a deed on each lease. ARGV has `width` arguments for each, from `first` on: the session, the
-- secret, and what else the deed takes. Returns {each, answer, ...}; the deed answers like the verb
-- for one lease.
local function each_lease(first, width, deed)
  assert(#ARGV < first + width * MOST_LEASES, 'too many leases in one call')
  if pool then
    settle()
  end
  local answers = { 'each' }
  for at = first, #ARGV, width do
    answers[#answers + 1] = pool and deed(at) or { 'lease_not_found' }
  end
  return answers
end
