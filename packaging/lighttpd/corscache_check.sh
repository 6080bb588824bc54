# SPDX-License-Identifier: BSD-2-Clause
# corscache for lighttpd: corscache.conf runs it as lighttpd reads its
# configuration. It has lighttpd print the whole of it (lighttpd -p) and looks for
# what would switch CORS off in silence. What it finds is said on stderr, and
# lighttpd does not start. Otherwise it prints what preflights must not
# inherit from the modules that this site has.
set -u

[ -z "${CORSCACHE_CHECK-}" ] || exit 0		# asked by the lighttpd below

config= modules=
eval "set -- $(tr '\0' '\n' <"/proc/$PPID/cmdline" | sed "s/'/'\\\\''/g; s/.*/'&'/" | tr '\n' ' ')"
shift
while getopts f:m:i:hvVD1pt option; do
	case $option in
	f)	config=$OPTARG ;;
	m)	modules=$OPTARG ;;
	esac
done
if [ -z "$config" ] || ! cd "/proc/$PPID/cwd" || [ ! -r "$config" ]; then
	echo "corscache_check.sh: no configuration file to look at (lighttpd -f FILE): nothing was checked" >&2
	exit 0
fi

CORSCACHE_CHECK=1 "/proc/$PPID/exe" -p -f "$config" ${modules:+-m "$modules"} 2>/dev/null </dev/null |
awk -v directory="$(dirname "$0")" '
function complain(text) {
	print "corscache: " text >"/dev/stderr"
	failed = 1
}

function where(block) { return block == 0 ? "the global " : path[block] ": the " }

function is_before(first, second) { return (first in position) && (second in position) && position[first] < position[second] }

# A block opens: its number, which says who wins, is on the next line.
/^ *(else )?\$[A-Z_]+\["[^"]*"\] .*[{]$/ || /^ *else [{]$/ {
	key = ""
	sub(/^ */, ""); sub(/ [{]$/, "")
	depth++
	name[depth] = (depth > 1 ? name[depth - 1] " { " : "") $0
	last[depth] = $0
	next
}
/^ *# block [0-9]+$/ && depth > 0 {
	inside[$3] = depth > 1 ? number[depth - 1] : 0
	number[depth] = $3
	path[$3] = name[depth]
	condition[$3] = last[depth]
	if ($3 > blocks)
		blocks = $3
	next
}
/^ *} # end of / { key = ""; depth--; next }
/^ *[a-z][a-z0-9._-]* *= / {
	key = (depth > 0 ? number[depth] : 0) SUBSEP $1
	sub(/^[^=]*= /, "")
}
key != "" { value[key] = value[key] $0 "\n" }

function has(block, name) { return (block SUBSEP name) in value }
function get(block, name) { return has(block, name) ? value[block, name] : "" }
function is_ask(block) { return condition[block] ~ /^\$REQUEST_HEADER\["Origin"\] != ""/ && get(block, "fastcgi.server") ~ /"authorizer"/ }

# Only our own socket: the status page, preflights.
function is_ours(block,	text) {
	text = get(block, "fastcgi.server")
	gsub(socket, "", text)
	return text !~ /"socket"|"host"|"bin-path"/
}

function check_modules(	list, n, i, other) {
	n = split(get(0, "server.modules"), list, "\"")
	for (i = 2; i <= n; i += 2)
		position[list[i]] = i
	n = split("mod_setenv mod_magnet mod_fastcgi", other, " ")
	for (i = 1; i <= n; i++)
		if (!(other[i] in position))
			complain("server.modules has no " other[i])
	if (is_before("mod_magnet", "mod_setenv"))
		complain("mod_magnet stands before mod_setenv in server.modules: headers that mod_setenv adds would come twice. Put it behind")
	n = split("mod_proxy mod_scgi mod_ajp13 mod_sockproxy mod_wstunnel mod_cgi", other, " ")
	for (i = 1; i <= n; i++)
		if (is_before(other[i], "mod_fastcgi"))
			complain(other[i] " stands before mod_fastcgi in server.modules: its applications would answer unchecked. Put it behind")
}

# Can both conditions hold? Two tests of one thing cannot, unless they are the same.
function can_meet(first, second,	a, b, n, m, i) {
	n = split(path[first], a, / [{] /)
	m = split(path[second], b, / [{] /)
	for (i = 1; i <= n && i <= m; i++)
		if (a[i] != b[i])
			return comparand(a[i]) != comparand(b[i]) && a[i] != "else" && b[i] != "else"
	return 1
}
function comparand(text) { sub(/^else /, "", text); sub(/\].*/, "", text); return text }

function check_fastcgi(block,	i) {
	for (i = 1; i <= blocks; i++)
		if (inside[i] == block && is_ask(i) && i >= ask)
			return
	complain(where(block) "fastcgi.server is not in the global one, so requests with an Origin would " \
	    (block < ask ? "not reach it, and might get its source" : "reach it unchecked") \
	    ". Name it globally, or write, behind corscache.conf, this condition once more with nothing in it but: include \"" \
	    directory "/corscache_ask.conf\"")
}

function check_script(block) {
	if (get(block, "magnet.attract-response-start-to") !~ /corscache\.lua"/)
		complain(where(block) "magnet.attract-response-start-to replaces corscache.lua. Write += and put it " \
		    "behind corscache.conf, or name corscache.lua in it")
}

# What the last condition that holds says replaces what others say, the realm too.
function check_realm(block, name,	i) {
	if (!has(block, name) || get(block, name) ~ /"CORS_/)
		return
	for (i = 0; i < block; i++)
		if (get(i, name) ~ /"CORS_(REALM|ENFORCE)"/ && can_meet(i, block)) {
			complain(where(block) name " replaces the one that has CORS_REALM or CORS_ENFORCE (" (i ? path[i] : "global") \
			    "). Use " (name ~ /set-e/ ? "setenv.add-environment" : "setenv.set-environment") " in one of them")
			return
		}
}

# Behind corscache_ask.conf these would win over what it says of preflights.
function check_order(block,	list, n, i) {
	n = split("auth.require url.access-deny url.access-allow url.redirect setenv.add-response-header " \
	    "setenv.set-response-header magnet.attract-raw-url-to magnet.attract-physical-path-to server.stream-request-body", list, " ")
	for (i = 1; i <= n; i++)
		if (has(block, list[i]))
			complain(where(block) list[i] " stands behind corscache.conf and would meet preflights. Include corscache.conf last")
}

# Modules that are not there would make lighttpd warn of unknown settings.
function clear(module, name) {
	if (module in position)
		print "\t" name " = ()"
}

# corscache.conf may be included in a condition: then it is about what can meet that.
function check_blocks(home,	i) {
	for (i = 1; i <= blocks; i++) {
		if (!can_meet(i, home) || condition[i] ~ /Access-Control-Request-Method/)
			continue
		if (i != home && has(i, "fastcgi.server") && !is_ours(i) && !is_ask(i))
			check_fastcgi(i)
		if (has(i, "magnet.attract-response-start-to"))
			check_script(i)
		check_realm(i, "setenv.set-environment")
		check_realm(i, "setenv.add-environment")
		if (i > ask)
			check_order(i)
	}
}

function depth_of(block) { return block == 0 ? 0 : 1 + depth_of(inside[block]) }

END {
	for (i = 1; i <= blocks; i++)
		if (is_ask(i) && (ask == 0 || depth_of(i) < depth_of(ask)))
			ask = i
	if (ask == 0)
		exit	# lighttpd could not read it, and says so itself
	socket = get(ask, "fastcgi.server")
	sub(/"mode" *=> "authorizer".*/, "", socket)
	sub(/.*"socket" *=> /, "", socket)
	socket = "\"socket\" *=> " substr(socket, 1, index(substr(socket, 2), "\"") + 1)
	check_modules()
	check_script(inside[ask])
	check_blocks(inside[ask])
	if (failed)
		exit 1
	print "$REQUEST_HEADER[\"Origin\"] != \"\" { $HTTP[\"request-method\"] == \"OPTIONS\" { " \
	    "$REQUEST_HEADER[\"Access-Control-Request-Method\"] != \"\" {"
	clear("mod_auth", "auth.require")
	clear("mod_access", "url.access-deny")
	clear("mod_access", "url.access-allow")
	clear("mod_redirect", "url.redirect")
	clear("mod_setenv", "setenv.add-response-header")
	clear("mod_setenv", "setenv.set-response-header")
	print "} } }"
}'
