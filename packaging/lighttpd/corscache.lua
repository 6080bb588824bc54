-- SPDX-License-Identifier: BSD-2-Clause
-- corscache for lighttpd: writes the authorizer's verdict into the response.
-- The application's own CORS headers go; its Vary is kept and added to.

local r = lighty.r
local request, response, said = r.req_header, r.resp_header, r.req_env

local function strip()
	for _, name in ipairs({ "Origin", "Credentials", "Methods", "Headers" }) do
		response["Access-Control-Allow-" .. name] = nil
	end
	response["Access-Control-Expose-Headers"] = nil
	response["Access-Control-Max-Age"] = nil
end

local function add_vary(name)
	local vary = response["Vary"]
	if not vary then
		response["Vary"] = name
	elseif vary ~= "*"
	    and not ("," .. vary:lower():gsub("%s", "") .. ","):find("," .. name:lower() .. ",", 1, true) then
		response["Vary"] = vary .. ", " .. name
	end
end

-- Without an Origin nobody was asked: Origin is the answer that is never wrong.
local function write_verdict()
	for header, variable in pairs({
		["Access-Control-Allow-Origin"] = "CORS_ALLOW_ORIGIN",
		["Access-Control-Allow-Credentials"] = "CORS_ALLOW_CREDENTIALS",
		["Access-Control-Expose-Headers"] = "CORS_EXPOSE_HEADERS",
	}) do
		response[header] = said[variable]
		response["Variable-" .. variable] = nil	-- of a 403 where CORS_ENFORCE is on
	end
	response["Variable-CORS_VARY"] = nil
	local vary = said["CORS_VARY"] or not said["CORS_ALLOW_ORIGIN"] and "Origin"
	if vary then
		add_vary(vary)
	end
end

-- nil: no digits, false: more of them than any body has bytes.
local function number(digits)
	return #digits < 19 and tonumber(digits)
end

-- "5-9", "5-", "-9": does it begin within the body? What is no range does not.
local function is_satisfiable(range, length)
	local first, last = range:match("^%s*(%d*)%s*%-%s*(%d*)%s*$")
	if not first then
		return false
	end
	first, last = number(first), number(last)
	if first == nil then
		return last and last > 0
	end
	return first and last ~= false and first < length and (last or length) >= first
end

local function any_is_satisfiable(list, length)
	for range in list:gmatch("[^,]+") do
		if is_satisfiable(range, length) then
			return true
		end
	end
	return false
end

-- lighttpd answers 416 behind this script, and forgets all headers. So it is answered here, where they stay.
local function answer_bad_range()
	local list = (request["Range"] or ""):match("^[Bb][Yy][Tt][Ee][Ss]=(.*)")
	local length = r.resp_body.len
	if not list or not length or length == 0 or r.req_item.http_status ~= 200
	    or r.req_attr["request.method"] ~= "GET" or request["If-Range"] or response["Content-Encoding"]
	    or any_is_satisfiable(list, length) then
		return 0
	end
	response["Content-Range"] = "bytes */" .. length
	response["Content-Type"] = nil
	response["Content-Length"] = nil
	response["ETag"] = nil
	response["Last-Modified"] = nil
	r.resp_body.set("")
	return 416
end

strip()
local written, why = pcall(write_verdict)
if not written then	-- fails closed
	strip()
	response["Vary"] = "Origin"
	print("corscache.lua: " .. why)
end
return answer_bad_range()
