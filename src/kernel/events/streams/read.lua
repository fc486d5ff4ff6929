-- Hands new entries out to whoever holds the lease. KEYS: 1 the lease, 2 and on the streams. ARGV: 1
-- the member, 2 the group, 3 how many of each stream. Returns whether the lease is held, and the
-- answer of XREADGROUP.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {0}
end
local command = {'XREADGROUP', 'GROUP', ARGV[2], ARGV[1], 'COUNT', ARGV[3], 'STREAMS'}
for i = 2, #KEYS do
  table.insert(command, KEYS[i])
end
for _ = 2, #KEYS do
  table.insert(command, '>')
end
return {1, redis.call(unpack(command))}
