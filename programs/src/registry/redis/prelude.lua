-- Begins every script: reads the registry's state and refuses what we did not write.
-- KEYS: meta, programs, versions. The answer is an array whose first element says what it is.
local META, PROGRAMS, VERSIONS = KEYS[1], KEYS[2], KEYS[3]
local meta = redis.call('HMGET', META, 'format', 'epoch', 'version', 'ready', 'server')
local format, epoch, version, ready, server = meta[1], meta[2], tonumber(meta[3] or '0'), meta[4], meta[5]
local rows, logged = redis.call('HLEN', PROGRAMS), redis.call('ZCARD', VERSIONS)
if format and format ~= '1' then
  return {'format', format}
end
if not version or (epoch and not meta[3]) then
  return {'damaged', META .. ' has no version'}
end
-- An eviction removes whole keys: the rest is not a usable registry.
if (version > 0) ~= (rows > 0) or (version > 0) ~= (logged > 0) then
  return {'damaged', 'a part of ' .. META .. ', ' .. PROGRAMS .. ' and ' .. VERSIONS .. ' is missing; was it evicted?'}
end
-- tostring() loses digits from 10^14 on.
local function digits(number)
  return string.format('%.0f', number)
end
