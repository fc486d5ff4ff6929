-- KEYS[1]: the set of ended sessions. ARGV[1]: the member that says up to when it is complete.
-- Returns that time or nothing, the time of this server in milliseconds, and how long the set is
-- still believed.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return {redis.call('ZSCORE', KEYS[1], ARGV[1]) or '', now, redis.call('PTTL', KEYS[1])}
