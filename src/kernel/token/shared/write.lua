-- Adds ended sessions to the set, if nobody else has since the writer looked.
-- KEYS[1]: the set. ARGV: 1 the member that says up to when the set is complete, 2 that time as the
-- writer saw it, 3 the time up to which it will be, 4 until when it is believed, by the clock of this
-- server, 5 before when members are forgotten, 6 the channel that is told, 7 whether the set is
-- complete afterwards, 8 how many members are too many, 9 and on the sessions.
local key, marker = KEYS[1], ARGV[1]
local seen = redis.call('ZSCORE', key, marker) or ''
if seen ~= ARGV[2] then
  return -1
end
local as_of = tonumber(ARGV[3])
if seen ~= '' then
  as_of = math.max(as_of, tonumber(seen) + 1)
end
local added = 0
for i = 9, #ARGV do
  added = added + redis.call('ZADD', key, 'NX', as_of, ARGV[i])
end
redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. ARGV[5])
if redis.call('ZCARD', key) > tonumber(ARGV[8]) then
  redis.call('DEL', key)
  return -2
end
if ARGV[7] == '1' then
  redis.call('ZADD', key, as_of, marker)
end
-- A time that has passed removes the set: what was written late is not believed at all.
if ARGV[7] == '1' or seen == '' then
  redis.call('PEXPIREAT', key, ARGV[4])
end
if added > 0 then
  redis.call('PUBLISH', ARGV[6], added)
end
return added
