-- SPDX-License-Identifier: BSD-2-Clause
-- corscache for lighttpd: writes the authorizer's verdict into the response.
-- The application's own CORS headers go; its Vary is kept and added to.

local r = lighty.r
local request, response, said = r.req_header, r.resp_header, r.req_env
local origin = request["Origin"] or ""

if origin ~= "" and r.req_attr["request.method"] == "OPTIONS"
    and (request["Access-Control-Request-Method"] or "") ~= "" then
	return 0	-- a preflight: the responder wrote all of it
end

for header, variable in pairs({
	["Access-Control-Allow-Origin"] = "CORS_ALLOW_ORIGIN",
	["Access-Control-Allow-Credentials"] = "CORS_ALLOW_CREDENTIALS",
	["Access-Control-Expose-Headers"] = "CORS_EXPOSE_HEADERS",
}) do
	response[header] = said[variable]		-- nil removes
	response["Variable-" .. variable] = nil	-- of a 403 where CORS_ENFORCE is on
end
response["Variable-CORS_VARY"] = nil
for _, header in ipairs({ "Methods", "Headers" }) do
	response["Access-Control-Allow-" .. header] = nil
end
response["Access-Control-Max-Age"] = nil

-- Without an Origin nobody was asked: Origin is the answer that is never wrong.
local add = said["CORS_VARY"]
if not add and not said["CORS_ALLOW_ORIGIN"] then
	add = "Origin"
end
local vary = response["Vary"]
if not add or vary == "*" then
	return 0
elseif not vary then
	response["Vary"] = add
elseif not ("," .. vary:lower():gsub("%s", "") .. ","):find("," .. add:lower() .. ",", 1, true) then
	response["Vary"] = vary .. ", " .. add
end
return 0
