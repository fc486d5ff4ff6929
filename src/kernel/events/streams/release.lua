-- Gives a group's lease up, if it is theirs. KEYS[1]: the lease. ARGV[1]: who held it.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
