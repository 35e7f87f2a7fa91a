-- ARGV: the version after which to begin, how many rows at most, after how many bytes to end.
local ids = redis.call('ZRANGEBYSCORE', VERSIONS, '(' .. ARGV[1], '+inf', 'LIMIT', 0, ARGV[2])
local answer = {'ok', epoch or '', digits(version), ready or '0', '0'}
local bytes = 0
for at, id in ipairs(ids) do
  if bytes > tonumber(ARGV[3]) then
    answer[5] = '1'
    return answer
  end
  local row = redis.call('HGET', PROGRAMS, id)
  if not row then
    return {'damaged', PROGRAMS .. ' lacks ' .. id .. ', which ' .. VERSIONS .. ' has'}
  end
  bytes = bytes + #id + #row
  answer[#answer + 1] = id
  answer[#answer + 1] = row
end
if #ids == tonumber(ARGV[2]) then
  answer[5] = '1'
end
return answer
