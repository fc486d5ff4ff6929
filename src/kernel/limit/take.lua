-- Takes tokens from one bucket, by the clock of this server. Times are in microseconds.
-- KEYS[1]: the bucket, which holds the time at which it will be full again.
-- ARGV[1]: how long the tokens that are asked for take to come back.
-- ARGV[2]: how long an empty bucket takes to be full.
-- Returns whether they were there, and how long the bucket takes to be full from now on.
local price, capacity = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full_at = tonumber(redis.call('GET', KEYS[1]) or now)
local backlog = math.max(full_at - now, 0)

local function keep()
  local until_full = string.format('%.0f', now + backlog)
  redis.call('SET', KEYS[1], until_full, 'PX', math.ceil(backlog / 1000))
end

-- A bucket cannot be emptier than empty, unless the clock went back or the quota became smaller.
if backlog > capacity then
  backlog = capacity
  keep()
end
if backlog + price > capacity then
  return {0, backlog}
end
backlog = backlog + price
if price > 0 then
  keep()
end
return {1, backlog}
