-- ARGV: the version to start after, the most rows, the bytes after which to stop.
local ids = redis.call('ZRANGEBYSCORE', VERSIONS, '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local answer = {'ok', epoch or '', digits(version), ready or '0', '0'}
local bytes = 0
for at = 1, #ids, 2 do
  if bytes > tonumber(ARGV[3]) then
    answer[5] = '1'
    return answer
  end
  -- A row that was deleted by hand counts as unreadable.
  local id, row = ids[at], redis.call('HGET', PROGRAMS, ids[at]) or ''
  bytes = bytes + #id + #row
  answer[#answer + 1] = id
  answer[#answer + 1] = digits(tonumber(ids[at + 1]))
  answer[#answer + 1] = row
end
if #ids == 2 * tonumber(ARGV[2]) then
  answer[5] = '1'
end
return answer
