"""What Redis runs for `redis.py`, in Lua: each is one view of the database, and one round trip."""

import hashlib

# KEYS: pointer, publications, rows, overlays. ARGV: number, ids. The third answer says how many rows there
# are: none where some were published is an eviction, and not that everybody is unknown.
READ = """
local ids = {unpack(ARGV, 2)}
local kept = redis.call('HEXISTS', KEYS[2], ARGV[1])
local answer = {redis.call('GET', KEYS[1]), kept, redis.call('HLEN', KEYS[3])}
if kept == 1 and #ids > 0 then
  answer[4] = redis.call('HMGET', KEYS[3], unpack(ids))
  if redis.call('EXISTS', KEYS[4]) == 1 then
    answer[5] = redis.call('HMGET', KEYS[4], unpack(ids))
  end
end
return answer
"""
# KEYS: rows. ARGV: bytes before the consents, ids. The consents of those that are there.
SAID = """
local said = {}
for _, row in ipairs(redis.call('HMGET', KEYS[1], unpack(ARGV, 2))) do
  if row then said[#said + 1] = string.sub(row, ARGV[1] + 1) end
end
return said
"""
# KEYS: overlays. ARGV: bytes before the consents, cursor. The next cursor, and who has any.
SAYING = """
local found = redis.call('HSCAN', KEYS[1], ARGV[2], 'COUNT', 1000)
local saying = {}
for place = 1, #found[2], 2 do
  if #found[2][place + 1] > 8 + ARGV[1] then saying[#saying + 1] = found[2][place] end
end
return {found[1], saying}
"""
# KEYS: pointer. ARGV: the keys of the identities asked for.
RESOLVE = """
local number = redis.call('GET', KEYS[1])
if not number then return {} end
return redis.call('HMGET', 'propensity:' .. number .. ':identities', unpack(ARGV))
"""
# KEYS: pointer, overlays. ARGV: number, then id, row with its moment, and the moment as 20 digits.
WRITE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local function moment(row)
  local digits = {}
  for place = 8, 1, -1 do digits[#digits + 1] = string.format('%03d', string.byte(row, place)) end
  return table.concat(digits)
end
for place = 2, #ARGV, 2 do
  local before = redis.call('HGET', KEYS[2], ARGV[place])
  if not before or moment(before) <= moment(ARGV[place + 1]) then
    redis.call('HSET', KEYS[2], ARGV[place], ARGV[place + 1])
  end
end
return 1
"""


SHA = {text: hashlib.sha1(text.encode()).hexdigest() for text in (READ, SAID, SAYING, RESOLVE, WRITE)}
