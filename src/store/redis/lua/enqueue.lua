-- enqueue: acquires, and takes a place in the line when that is refused and waiting can help.
--
-- KEYS    of a pool (standing.lua)
-- ARGV    1 the ask, packed, as for acquire.lua
--         2 how it waits, packed: {ticket, wait, class, channel, demand,
--           selector}; the selector as people write it
-- returns as acquire.lua, or {waiting, now, position, how many wait, due in or -1}
-- refuses as acquire.lua · {wait_queue_full, how many wait, how many may, and as pool_busy}

if not pool then
  return { 'pool_not_found' }
end
settle()
serve_waiters()
return seldom()(read_ask(ARGV[1]), ARGV[1], cmsgpack.unpack(ARGV[2]))
