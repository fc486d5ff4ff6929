-- Claims entries that were handed to a member before and never acknowledged, for whoever holds the
-- lease. KEYS: 1 the lease, 2 the stream. ARGV: 1 the member, 2 the group, 3 where to go on, 4 how
-- many. Returns whether the lease is held, and the answer of XAUTOCLAIM.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {0}
end
return {1, redis.call('XAUTOCLAIM', KEYS[2], ARGV[2], ARGV[1], 0, ARGV[3], 'COUNT', ARGV[4])}
