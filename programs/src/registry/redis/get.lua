-- ARGV: an id, or nothing for the state alone.
local row = false
if ARGV[1] ~= '' then
  row = redis.call('HGET', PROGRAMS, ARGV[1])
end
return {'ok', epoch or '', digits(version), ready or '0', row}
