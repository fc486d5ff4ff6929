-- Forgets members of a group that are gone: those that hold nothing, but for whoever holds the lease.
-- KEYS: 1 the lease, 2 the stream. ARGV: 1 the member, 2 the group.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[2], ARGV[2])) do
  local facts = {}
  for i = 1, #consumer, 2 do
    facts[consumer[i]] = consumer[i + 1]
  end
  if facts.name ~= ARGV[1] and facts.pending == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[2], ARGV[2], facts.name)
  end
end
return 1
