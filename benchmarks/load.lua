-- What wrk sends: the requests of a file in turn, raw, with a NUL between them. "########" becomes a number that was
-- never sent before, so that no two v2 credentials are the same.
-- Arguments: the file, milliseconds of pause before each request (or 0), "once" to stop at the file's end.

local requests, at, number, once = {}, 0, os.time() % 100000 * 1000, false

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  for each in string.gmatch(file:read("*a"), "[^%z]+") do requests[#requests + 1] = each end
  file:close()
  local pause = tonumber(arguments[2])
  if pause > 0 then
    math.randomseed(7)
    delay = function() return math.floor(pause * 2 * math.random() + 0.5) end
  end
  once = arguments[3] == "once"
end

function request()
  at = at + 1
  if at > #requests then at = 1 end
  if once and at > #requests - 128 then wrk.thread:stop() end
  number = (number + 1) % 100000000
  return (string.gsub(requests[at], "########", string.format("%08d", number)))
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests": %d, "seconds": %f, "refused": %d, "broken": %d, "p50": %f, "p99": %f, "worst": %f}\n',
    summary.requests, summary.duration / 1e6, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
