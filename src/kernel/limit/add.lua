-- Adds what a process has let through to the buckets that all share, by the clock of this server.
-- Times are in microseconds.
-- KEYS: the buckets, each of which holds the time at which it will be full again.
-- ARGV: for each bucket, how long what was taken takes to come back, and how long an empty bucket
-- takes to be full; then how many times empty a bucket can be.
-- Returns for each bucket how long it takes to be full from now on. That can be longer than an empty
-- one takes: what was let through too much is paid back before anything else is.
local deepest = tonumber(ARGV[#ARGV])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local backlogs = {}
for index, key in ipairs(KEYS) do
  local price, capacity = tonumber(ARGV[2 * index - 1]), tonumber(ARGV[2 * index])
  local full_at = tonumber(redis.call('GET', key) or now)
  -- A clock that went back would leave a debt that nobody has.
  local backlog = math.min(math.max(full_at - now, 0) + price, capacity * deepest)
  redis.call('SET', key, string.format('%.0f', now + backlog), 'PX', math.ceil(backlog / 1000))
  backlogs[index] = backlog
end
return backlogs
