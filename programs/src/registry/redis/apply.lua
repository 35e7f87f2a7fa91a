-- ARGV: an epoch for a new store, the expected epoch or nothing, 1 to set the ready mark,
-- PUBLISH or SPUBLISH, the channel, the most bytes and changes that are published one by one;
-- then of each edit its id, its revision in 20 digits, its JSON or nothing to remove.
local FIRST = 8

-- Version, revision and content of a row that we wrote. Any other row is ignored and overwritten.
local function parsed(row)
  local last, stored, content = row:match('^(%d+) (%d+) (.*)$')
  if last and #last <= 16 and #stored == 20 and stored <= '18446744073709551615' then
    return last, stored, content
  end
end

-- Decide everything, then write everything: an error in between would leave half of it behind.
-- A missing right is such an error, so the rights are checked first.
for _, command in ipairs({
  {'INFO', 'server'}, {'HSET', META, '', ''}, {'HSET', PROGRAMS, '', ''}, {'ZADD', VERSIONS, '0', ''},
  {ARGV[4], ARGV[5], ''},
}) do
  if not redis.acl_check_cmd(unpack(command)) then
    return {'denied', command[1] .. ' ' .. command[2]}
  end
end
local answers, changes, pending = {}, {}, {}
local bytes = 0
for at = FIRST, #ARGV, 3 do
  local id, revision, json = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local row = pending[id] or redis.call('HGET', PROGRAMS, id)
  local last, stored, content
  if row then
    last, stored, content = parsed(row)
  end
  if stored == revision and content ~= '' and content ~= json and not pcall(cjson.decode, content) then
    stored = nil
  end
  if not stored or revision > stored then
    version = version + 1
    row = digits(version) .. ' ' .. revision .. ' ' .. json
    pending[id] = row
    bytes = bytes + #row
    changes[#changes + 1] = {version, id, row, revision, json}
    answers[#answers + 1] = {'stored', digits(version)}
  elseif revision < stored then
    answers[#answers + 1] = {'older', stored}
  elseif json == content then
    answers[#answers + 1] = {'unchanged', last}
  else
    answers[#answers + 1] = {'differs', last, content}
  end
end

-- Another server process than the one of the last write may have lost changes that were
-- already read: a replica that was promoted, a restart from an old file. Later versions must
-- not continue the same epoch. A script that changes nothing also begins the new one: it may be
-- the first of several, which all expect the epoch that it returned.
local here = redis.call('INFO', 'server'):match('run_id:(%w+)')
if not here then
  return {'damaged', 'INFO server names no run_id'}
end
local makes_ready = ARGV[3] == '1' and ready ~= '1'
local moved = epoch and server ~= here
local writes = #changes > 0 or makes_ready or moved
if moved or (writes and not epoch) then
  epoch = ARGV[1]
end
if ARGV[2] ~= '' and ARGV[2] ~= epoch then
  return {'replaced'}
end
if writes then
  if ARGV[3] == '1' then
    ready = '1'
  end
  redis.call('HSET', META, 'format', '1', 'epoch', epoch, 'version', digits(version),
    'ready', ready or '0', 'server', here)
end

local one_by_one = bytes <= tonumber(ARGV[6]) and #changes <= tonumber(ARGV[7])
for _, change in ipairs(changes) do
  local at, id, row = change[1], change[2], change[3]
  redis.call('HSET', PROGRAMS, id, row)
  redis.call('ZADD', VERSIONS, digits(at), id)
  if one_by_one then
    redis.call(ARGV[4], ARGV[5], '1 ' .. epoch .. ' ' .. digits(at) .. ' ' .. id .. ' ' .. change[4] .. ' ' .. change[5])
  end
end
if #changes > 0 and not one_by_one then
  redis.call(ARGV[4], ARGV[5], '1 ' .. epoch .. ' ' .. digits(version) .. ' ' .. #changes)
end
return {'ok', epoch or '', digits(version), ready or '0', answers}
