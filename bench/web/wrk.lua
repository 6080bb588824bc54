-- SPDX-License-Identifier: BSD-2-Clause
-- wrk -s wrk.lua URL -- HOST preflight|actual ORIGINS: asks as 4096 of these origins,
-- spread evenly over all, in random order; prints one line of JSON.

local ASKED = 4096
local requests = {}

function init(args)
	local host, question, origins = args[1], args[2], tonumber(args[3])
	local n = math.min(ASKED, origins)
	for i = 1, n do
		local headers = { Host = host, Origin = "https://o" .. math.ceil(i * origins / n) .. ".example.com" }
		if question == "preflight" then
			headers["Access-Control-Request-Method"] = "PUT"
			headers["Access-Control-Request-Headers"] = "content-type,x-token"
		end
		requests[i] = wrk.format(question == "preflight" and "OPTIONS" or "GET", "/tiny.txt", headers)
	end
end

function request()
	return requests[math.random(#requests)]
end

function done(summary, latency)
	local e = summary.errors
	print(string.format('{"requests":%d,"seconds":%.6f,"p50_us":%d,"p99_us":%d,"p999_us":%d,"errors":%d}',
	    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
	    latency:percentile(99.9), e.connect + e.read + e.write + e.status + e.timeout))
end
