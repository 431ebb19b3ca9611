-- wrk -t1 -s wrk.lua URL -- FILE PATH TAG [AUTHORIZATION]: posts the lines of FILE to PATH, again and again.
-- A PATH that begins with "GET " is asked for instead, without a body.
-- @ID is replaced by a name no other request has, @TURN by one for each pass over the file.
local parts, path, tag, sent = {}, "", "", 0
local headers = { ["Content-Type"] = "application/json" }

function init(args)
  path, tag = args[2], args[3]
  if args[4] and args[4] ~= "" then
    headers["Authorization"] = args[4]
  end
  for line in io.lines(args[1]) do
    local pieces, from = {}, 1
    for at, mark, after in line:gmatch("()@(%u+)()") do
      if mark == "ID" or mark == "TURN" then
        pieces[#pieces + 1] = line:sub(from, at - 1)
        pieces[#pieces + 1] = mark
        from = after
      end
    end
    pieces[#pieces + 1] = line:sub(from)
    parts[#parts + 1] = pieces
  end
end

function request()
  local turn = math.floor(sent / #parts)
  local pieces = parts[sent % #parts + 1]
  local body = {}
  for place, piece in ipairs(pieces) do
    if place % 2 == 1 then
      body[place] = piece
    elseif piece == "ID" then
      body[place] = tag .. "-" .. sent
    else
      body[place] = tag .. "-" .. turn
    end
  end
  sent = sent + 1
  if path:sub(1, 4) == "GET " then
    return wrk.format("GET", path:sub(5), headers)
  end
  return wrk.format("POST", path, headers, table.concat(body))
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "p50_ms": %.4f, "p99_ms": %.4f, "errors": %d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
