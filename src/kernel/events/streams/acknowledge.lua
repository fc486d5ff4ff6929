-- Acknowledges an entry, if the lease is still held. KEYS: 1 the lease, 2 the stream. ARGV: 1 the
-- member, 2 the group, 3 the entry.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('XACK', KEYS[2], ARGV[2], ARGV[3])
return 1
