-- Removes a claim, if it is there as it was written.
-- KEYS[1]: the claim.
-- ARGV[1]: what was written.
-- Returns whether it was there.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
