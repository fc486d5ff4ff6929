-- Takes or renews a group's lease. KEYS[1]: the lease. ARGV: 1 who asks, 2 for how long, in
-- milliseconds. Returns whether it is theirs.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
