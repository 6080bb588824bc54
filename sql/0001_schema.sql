-- SPDX-License-Identifier: BSD-2-Clause
--
-- The schema cors, version 2: who may read which answers across origins.
--
-- Run it as the role that shall own the schema:
--	psql -X -v ON_ERROR_STOP=1 -d DATABASE -f 0001_schema.sql
-- It needs CREATE on the database, or a schema cors of its own; no superuser,
-- no extension; PostgreSQL 13 or later. It is one transaction and may be run
-- again at any time: it upgrades and repairs, and leaves the rows alone.
-- Tables, helpers and roles are explained in README.md beside this file.

BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL search_path = pg_catalog, pg_temp;

-- One run at a time; the rest wait here. Before the schema is there, there is
-- nothing of ours to lock; what a stranger may lock, too, is waited for in vain
-- no longer than a minute.
DO $$
DECLARE
	tries integer := 0;
BEGIN
	WHILE NOT pg_try_advisory_xact_lock(hashtextextended('cors-schema-migration', 0)) LOOP
		tries := tries + 1;
		IF tries > 600 THEN
			RAISE EXCEPTION 'another run of this file has not ended for a minute'
			USING ERRCODE = 'lock_not_available', HINT = format('who it is: SELECT a.* FROM pg_locks l JOIN pg_stat_activity a'
			    ' USING (pid) WHERE locktype = ''advisory'' AND (classid::bigint << 32) + objid::bigint = %s; end it:'
			    ' SELECT pg_terminate_backend(pid)', hashtextextended('cors-schema-migration', 0));
		END IF;
		PERFORM pg_sleep(0.1);
	END LOOP;
END $$;

-- The functions below act with their owner's rights on what is in this schema,
-- so nobody else may own it.
DO $$
DECLARE
	proprietor name := (SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'cors');
	version    integer;
BEGIN
	IF proprietor <> current_user THEN
		RAISE EXCEPTION 'schema cors belongs to %, not to %', proprietor, current_user
		USING ERRCODE = 'insufficient_privilege',
		    HINT = format('run this file as %1$I, for instance with PGOPTIONS=''-c role=%1$s''', proprietor);
	END IF;
	IF to_regclass('cors.meta') IS NOT NULL THEN
		EXECUTE 'SELECT schema_version FROM cors.meta' INTO version;
	END IF;
	IF version > 2 THEN
		RAISE EXCEPTION 'schema cors has version %, this file knows 2', version
		USING ERRCODE = 'object_not_in_prerequisite_state',
		    HINT = 'install the newer corscache: schemas are never taken back';
	END IF;
END $$;

CREATE SCHEMA IF NOT EXISTS cors;
REVOKE ALL ON SCHEMA cors FROM PUBLIC;
COMMENT ON SCHEMA cors IS 'cross-origin rules, served by corscache';

-- 1. What a value may be -----------------------------------------------------
--
-- The same rules as lib/origin.h and lib/policy.h, where the C side checks
-- every row again. check_*() returns NULL or the reason; accept_*() is for
-- CHECK constraints: true, or an error that says what to write instead.

CREATE OR REPLACE FUNCTION cors.reject(tab name, col name, message text, hint text)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RAISE EXCEPTION USING ERRCODE = 'check_violation', SCHEMA = 'cors', TABLE = tab, COLUMN = col,
	    MESSAGE = message, HINT = hint;
END $$;

-- An IPv6 address as browsers write it (RFC 5952, never a dotted part), or
-- NULL. inet agrees but for addresses that may embed IPv4: '::102:304' comes
-- back as '::1.2.3.4'.
CREATE OR REPLACE FUNCTION cors.ipv6_text(address text)
RETURNS text LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	canonical text;
	quad      integer[];
BEGIN
	IF address !~ '^[0-9a-f:.]*:[0-9a-f:.]*$' THEN
		RETURN NULL;
	END IF;
	canonical := host(address::inet);
	IF canonical !~ '\.' THEN
		RETURN canonical;
	END IF;
	quad := string_to_array(substring(canonical FROM '[0-9.]+$'), '.')::integer[];
	canonical := regexp_replace(canonical, '[0-9.]+$', '');
	IF canonical <> '::' OR quad[1] + quad[2] > 0 THEN
		canonical := canonical || to_hex(quad[1] * 256 + quad[2]) || ':';
	END IF;
	RETURN canonical || to_hex(quad[3] * 256 + quad[4]);
EXCEPTION WHEN invalid_text_representation THEN
	RETURN NULL;
END $$;

-- Can a browser decode what stands behind the xn-- of a label (RFC 3492
-- section 6.2), and is there more in it than ASCII?
CREATE OR REPLACE FUNCTION cors.is_punycode(label text)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	n         integer := coalesce(length(substring(label FROM '^(.+)-')), 0);	-- characters so far
	p         integer := CASE WHEN n > 0 THEN n + 2 ELSE 1 END;
	bias      integer := 72;
	place     bigint := 0;
	scalar    bigint := 128;
	first     boolean := true;
	delta     bigint;
	weight    bigint;
	k         integer;
	threshold integer;
	digit     integer;
BEGIN
	IF p > length(label) THEN
		RETURN false;
	END IF;
	WHILE p <= length(label) LOOP
		delta := 0;
		weight := 1;
		k := 36;
		LOOP
			digit := strpos('abcdefghijklmnopqrstuvwxyz0123456789', substr(label, p, 1)) - 1;
			IF p > length(label) OR digit < 0 OR delta + weight >= 4294967295 THEN
				RETURN false;
			END IF;
			p := p + 1;
			threshold := greatest(1, least(26, k - bias));
			delta := delta + digit * weight;
			EXIT WHEN digit < threshold;
			weight := weight * (36 - threshold);
			k := k + 36;
		END LOOP;
		n := n + 1;
		scalar := scalar + (place + delta) / n;
		IF scalar < 160 OR scalar BETWEEN 55296 AND 57343 OR scalar > 1114111 THEN
			RETURN false;	-- a control, half a pair of UTF-16, none at all
		END IF;
		place := (place + delta) % n + 1;
		delta := delta / CASE WHEN first THEN 700 ELSE 2 END;
		delta := delta + delta / n;
		first := false;
		bias := 0;
		WHILE delta > 455 LOOP
			delta := delta / 35;
			bias := bias + 36;
		END LOOP;
		bias := bias + 36 * delta / (delta + 38);
	END LOOP;
	RETURN true;
END $$;

-- Special schemes of the URL standard. All others are of applications and
-- extensions: there a browser keeps the host as it was written, capitals too.
CREATE OR REPLACE FUNCTION cors.is_special(scheme text)
RETURNS boolean LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT scheme IN ('http', 'https', 'ws', 'wss', 'ftp')
$$;

-- The host of an origin or pattern, without port and "*.": NULL or the reason.
CREATE OR REPLACE FUNCTION cors.check_host(scheme text, host text, is_suffix boolean)
RETURNS text LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	quad   constant text := '^(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])'
	    '(\.(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3}$';
	most   constant integer := CASE WHEN is_suffix THEN 251 ELSE 253 END;
	labels text[] := string_to_array(host, '.');
	is_opaque constant boolean := NOT is_suffix AND NOT cors.is_special(scheme);
	canonical text;
BEGIN
	IF host = '' AND is_opaque THEN
		RETURN NULL;
	ELSIF host = '' THEN
		RETURN 'it has no host';
	ELSIF is_suffix AND (host LIKE '[%' OR host ~ quad) THEN
		RETURN 'a *. cannot stand in front of an address';
	ELSIF host LIKE '[%' THEN
		canonical := cors.ipv6_text(substring(host FROM '^\[(.*)\]$'));
		RETURN CASE WHEN canonical IS NULL THEN 'its [IPv6] address is malformed'
		    WHEN canonical ~ '^::ffff:[0-9a-f]+:[0-9a-f]+$' THEN 'its IPv6 address stands for an IPv4 address'
		    WHEN host <> '[' || canonical || ']' THEN
			format('its IPv6 address is not in the short form, [%s]', canonical) END;
	ELSIF is_opaque THEN
		RETURN CASE WHEN host ~ '[][<>^|]' THEN format('its host has a character that no host has: %s', substring(host FROM '[][<>^|]'))
		    WHEN length(host) > most THEN format('its host is longer than %s characters', most) END;
	ELSIF host ~ '[^a-z0-9._-]' THEN
		RETURN format('its host has a character that no host name has: %s', substring(host FROM '[^a-z0-9._-]'));
	ELSIF '' = ANY (labels) THEN
		RETURN CASE WHEN host LIKE '%_.' THEN 'its host ends with a dot'
		    ELSE 'its host has an empty label' END;
	ELSIF (SELECT max(length(label)) FROM unnest(labels) label) > 63 THEN
		RETURN 'a label of its host is longer than 63 characters';
	ELSIF length(host) > most THEN
		RETURN format('its host is longer than %s characters', most);
	ELSIF is_suffix AND cardinality(labels) > 63 THEN
		RETURN 'its host has more than 63 labels behind the *.';
	ELSIF cors.is_special(scheme)
	    AND labels[cardinality(labels)] ~ '^([0-9]+|0x[0-9a-f]*)$' AND host !~ quad THEN
		RETURN 'its host ends in a number but is no IPv4 address such as 192.0.2.1';
	ELSIF cors.is_special(scheme)
	    AND host LIKE '%xn--%'
	    AND EXISTS (SELECT FROM unnest(labels) label WHERE label LIKE 'xn--%' AND NOT cors.is_punycode(substr(label, 5))) THEN
		RETURN 'its host has a label that begins with xn-- and is no Punycode';
	END IF;
	RETURN NULL;
END $$;

-- Is this what a browser sends in Origin, or one of the six patterns?
-- NULL: yes. Otherwise a clause that completes "'X' is not an origin: ".
CREATE OR REPLACE FUNCTION cors.check_origin(origin text)
RETURNS text LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	o         text COLLATE "C" := origin;
	scheme    text COLLATE "C";
	host      text COLLATE "C";
	port      text COLLATE "C";
	rest      text COLLATE "C";
	is_app    boolean;
	is_suffix boolean;
	any_port  boolean;
BEGIN
	scheme := substring(o FROM '^([a-z][a-z0-9+.-]*)://');
	is_app := coalesce(scheme <> 'file' AND NOT cors.is_special(scheme), false);
	IF o IS NULL THEN
		RETURN 'it is NULL';
	ELSIF o = '*' THEN
		RETURN NULL;
	ELSIF o = 'null' THEN
		RETURN 'any sandboxed page and any local file can send it';
	ELSIF o = '' THEN
		RETURN 'it is empty';
	ELSIF octet_length(o) > 328 THEN
		RETURN 'it is longer than 328 bytes';
	ELSIF o ~ ' ' OR NOT is_app AND o ~ '[,;]' THEN
		RETURN 'it has a space or a comma';
	ELSIF o ~ '[^!-~]' THEN
		RETURN 'it has a control character or one outside ASCII';
	ELSIF NOT is_app AND o ~ '[A-Z]' THEN
		RETURN 'it has upper-case letters';
	ELSIF scheme IS NULL THEN
		RETURN 'it has no scheme:// in front';
	END IF;
	rest := substr(o, length(scheme) + 4);
	IF length(scheme) > 64 THEN
		RETURN 'its scheme is longer than 64 characters';
	ELSIF scheme = 'file' THEN
		RETURN 'pages opened from files send null';
	ELSIF rest ~ '^[^/?#\\]*@' THEN
		RETURN 'it has a user name in front of an @';
	ELSIF rest ~ '^[^/?#\\]+/$' THEN
		RETURN 'it has a trailing slash';
	ELSIF rest ~ '[/?#\\]' THEN
		RETURN 'it has a path, a query or a fragment';
	ELSIF is_app AND rest = '*' THEN
		RETURN NULL;
	END IF;

	is_suffix := rest LIKE '*.%';
	IF is_suffix THEN
		rest := substr(rest, 3);
	END IF;
	any_port := rest LIKE '%:*';
	IF any_port THEN
		rest := left(rest, -2);
	END IF;
	IF rest LIKE '%*%' THEN
		RETURN 'a * stands for whole labels in front of a host (*.host), for the port (host:*), '
		    'or for every host of an application''s scheme (app://*), nowhere else';
	END IF;
	host := CASE WHEN rest LIKE '[%' THEN coalesce(substring(rest FROM '^\[[^]]*\]'), rest)
	    ELSE split_part(rest, ':', 1) END;
	port := substr(rest, length(host) + 1);
	IF port <> '' AND any_port OR port LIKE ':%:%' THEN
		RETURN 'it has two ports, or an IPv6 address without brackets';
	ELSIF port <> '' AND (port !~ '^:[1-9][0-9]*$' OR length(port) > 6 OR substr(port, 2)::integer > 65535) THEN
		RETURN 'its port is not a number from 1 to 65535 without leading zeros';
	ELSIF scheme || port IN ('http:80', 'https:443', 'ws:80', 'wss:443', 'ftp:21') THEN
		RETURN 'it spells out the default port, which browsers leave out';
	ELSIF host = '' AND (port <> '' OR any_port) THEN
		RETURN 'it has no host';
	END IF;
	RETURN cors.check_host(scheme, host, is_suffix);
END $$;

-- The valid origin that was probably meant, or NULL.
CREATE OR REPLACE FUNCTION cors.suggest_origin(origin text)
RETURNS text LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	o       text COLLATE "C" := btrim(origin, E' \t\r\n"''');
	scheme  text COLLATE "C" := lower(substring(o FROM '^([A-Za-z][A-Za-z0-9+.-]*)://') COLLATE "C");
	address text COLLATE "C";
BEGIN
	IF cors.is_special(scheme) IS NOT FALSE THEN
		o := lower(o COLLATE "C");
	ELSE		-- capitals in such a host are kept
		o := scheme || substr(o, length(scheme) + 1);
		o := regexp_replace(o, '^([a-z][a-z0-9+.-]*://[^/?#\\]*)[/?#\\].*$', '\1');
		o := regexp_replace(o, '^([a-z][a-z0-9+.-]*://\*):.*$', '\1');
	END IF;
	IF o ~ '^(\*\.)?[a-z0-9_-][a-z0-9._-]*(:[0-9]+|:\*)?([/?#]|$)' THEN
		o := 'https://' || o;
	END IF;
	o := regexp_replace(o, '^([a-z][a-z0-9+.-]*://)[^/?#\\@]*@', '\1');
	o := regexp_replace(o, '^([a-z][a-z0-9+.-]*://[^/?#\\]+)[/?#\\].*$', '\1');
	o := regexp_replace(o, '^((http|ws)://.*):0*80$', '\1');
	o := regexp_replace(o, '^((https|wss)://.*):0*443$', '\1');
	o := regexp_replace(o, '^(ftp://.*):0*21$', '\1');
	o := regexp_replace(o, ':0+([1-9][0-9]*)$', ':\1');
	o := regexp_replace(o, '^(https?://[^:]+):$', '\1');
	address := substring(o FROM '://\[([^]]*)\]');
	o := coalesce(replace(o, '[' || address || ']', '[' || cors.ipv6_text(address) || ']'), o);
	RETURN CASE WHEN o <> origin AND cors.check_origin(o) IS NULL THEN o END;
END $$;

CREATE OR REPLACE FUNCTION cors.accept_origin(origin text)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	reason     text := cors.check_origin(origin);
	suggestion text;
BEGIN
	IF reason IS NULL THEN
		RETURN true;
	END IF;
	suggestion := cors.suggest_origin(origin);
	RETURN cors.reject('origins', 'origin', format('%L is not an origin: %s', left(origin, 328), reason), CASE
	    WHEN origin = 'null' THEN 'serve the page from an origin of its own, or write ''*'' with a policy without credentials'
	    WHEN suggestion LIKE '%*%' THEN format('write %L', suggestion)
	    WHEN suggestion IS NOT NULL THEN format('browsers send %L', suggestion)
	    WHEN origin LIKE 'file:%' THEN 'serve the page from an origin of its own, such as ''http://localhost:3000'''
	    WHEN origin ~ '[,; ]' THEN 'write one row for each origin'
	    WHEN origin ~ '[^!-~]' OR reason LIKE '%Punycode'
		THEN 'write an international host name in its ASCII form, such as ''https://xn--bcher-kva.example'''
	    -- never '*' by itself: it lets in everybody, from every scheme
	    WHEN origin ~ '^(https?|wss?|ftp)://\*(:|$)' THEN 'write ''https://*.example.com'' for the hosts below one, or, '
		'for every origin of every scheme, ''*'' with a policy without credentials'
	    WHEN origin LIKE '%*%' THEN 'write ''https://*.example.com'', ''https://example.com:*'', ''https://*.example.com:*'', ''app://*'' or ''*'''
	    ELSE 'write scheme://host or scheme://host:port, such as ''https://app.example.com'' or ''http://localhost:3000''' END);
END $$;

-- The shared table holds UTF-8, and a database of another encoding gives it that.
-- NULL: it cannot. A database of SQL_ASCII holds any bytes.
CREATE OR REPLACE FUNCTION cors.as_utf8(value text)
RETURNS bytea LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN convert_to(value, 'UTF8');
EXCEPTION WHEN character_not_in_repertoire OR untranslatable_character THEN
	RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION cors.accept_realm(realm text)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF cors.as_utf8(realm) IS NULL THEN
		RETURN cors.reject('origins', 'realm', format('%L is not a realm: it is no UTF-8',
		    left(encode(convert_to(realm, getdatabaseencoding()), 'escape'), 80)),
		    'write it in UTF-8, or in ASCII: the web server sends bytes, and this database does not know of which encoding its own are');
	ELSIF octet_length(cors.as_utf8(realm)) > 255 THEN
		RETURN cors.reject('origins', 'realm',
		    format('%L is not a realm: it is longer than 255 bytes', left(realm, 80) || '...'),
		    'write what the web server sends as CORS_REALM: a short name');
	ELSIF realm ~ '[\u0001-\u001f\u007f]' THEN
		RETURN cors.reject('origins', 'realm', format('%L is not a realm: it has a control character', realm),
		    'write what the web server sends as CORS_REALM, without line breaks and tabs');
	END IF;
	RETURN true;
END $$;

CREATE OR REPLACE FUNCTION cors.accept_policy_name(name text)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF octet_length(cors.as_utf8(name)) BETWEEN 1 AND 63 AND name !~ '[\u0001-\u001f\u007f]' THEN
		RETURN true;
	ELSIF cors.as_utf8(name) IS NULL THEN
		RETURN cors.reject('policies', 'name', format('%L is not a policy name: it is no UTF-8',
		    left(encode(convert_to(name, getdatabaseencoding()), 'escape'), 80)), 'write it in UTF-8, or in ASCII');
	END IF;
	RETURN cors.reject('policies', 'name', format('%L is not a policy name: %s', left(name, 80), CASE
	    WHEN name = '' THEN 'it is empty'
	    WHEN octet_length(cors.as_utf8(name)) > 63 THEN 'it is longer than 63 bytes'
	    ELSE 'it has a control character' END),
	    'write 1 to 63 bytes without line breaks and tabs, such as ''public-api''');
END $$;

-- One name of a list: NULL or the reason it may not stand there.
CREATE OR REPLACE FUNCTION cors.check_name(list name, element text)
RETURNS text LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE
	WHEN element IS NULL THEN 'it is NULL'
	WHEN element = '' THEN 'it is empty'
	WHEN element ~ '[,[:space:]]' THEN 'it has a space or a comma'
	WHEN element !~ '^[!#$%&''*+.^_`|~0-9A-Za-z-]+$' THEN 'it has a character that no HTTP token has'
	WHEN octet_length(element) > 64 THEN 'it is longer than 64 bytes'
	WHEN list = 'methods' AND upper(element COLLATE "C") IN ('CONNECT', 'TRACE', 'TRACK')
		THEN 'no browser lets a page send it'
	WHEN list = 'headers' AND lower(element COLLATE "C") ~ ('^(proxy-.*|sec-.*|access-control-(allow-.*|expose-headers|max-age))$')
		THEN CASE WHEN element ~* '^access' THEN 'it belongs in answers, not in requests'
		    ELSE 'no browser lets a page set it' END
	WHEN list = 'headers' AND lower(element COLLATE "C") IN ('accept-charset', 'accept-encoding',
		'access-control-request-headers', 'access-control-request-method',
		'access-control-request-private-network', 'connection', 'content-length',
		'cookie', 'cookie2', 'date', 'dnt', 'expect', 'host', 'keep-alive', 'origin', 'referer', 'set-cookie',
		'te', 'trailer', 'transfer-encoding', 'upgrade', 'via')
		THEN 'no browser lets a page set it'
	WHEN list = 'expose_headers' AND lower(element COLLATE "C") IN ('set-cookie', 'set-cookie2')
		THEN 'no browser shows it to a page'
	WHEN list = 'expose_headers' AND lower(element COLLATE "C") ~ '^(origin|access-control-request-.*)$'
		THEN 'it belongs in requests, not in answers'
	END
$$;

-- methods, headers and expose_headers: flat lists of HTTP tokens, or of "*".
CREATE OR REPLACE FUNCTION cors.accept_list(list name, names text[])
RETURNS boolean LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	noun    constant text := CASE list WHEN 'methods' THEN 'a method' WHEN 'headers' THEN 'a request header'
	    ELSE 'a response header' END;
	example constant text := CASE list WHEN 'methods' THEN '{GET,POST}' WHEN 'headers' THEN '{Content-Type,Authorization}'
	    ELSE '{ETag,Link}' END;
	maximum constant integer := CASE list WHEN 'methods' THEN 1024 ELSE 2048 END;
	element text;
	reason  text;
BEGIN
	IF array_ndims(names) > 1 OR cardinality(names) > 128 THEN
		RETURN cors.reject('policies', list, format('%s is not a list of names: it has more than %s', list,
		    CASE WHEN array_ndims(names) > 1 THEN 'one dimension' ELSE '128 elements' END),
		    format('write a flat list such as ''%s'', or ''{*}'' for any', example));
	END IF;
	FOREACH element IN ARRAY names LOOP
		reason := cors.check_name(list, element);
		IF reason IS NOT NULL THEN
			RETURN cors.reject('policies', list, format('%L may not stand in %s: %s', left(element, 80), list, reason), CASE
			    WHEN reason LIKE 'no browser%' OR reason LIKE 'it belongs%'
				THEN format('leave it out of %s: it would never have an effect', list)
			    ELSE format('write %s as one element, in a list such as ''%s'', or ''{*}'' for any', noun, example) END);
		END IF;
	END LOOP;
	IF octet_length(array_to_string(names, ',')) > maximum THEN
		RETURN cors.reject('policies', list, format('%s is too long: %s bytes when joined by commas, at most %s fit',
		    list, octet_length(array_to_string(names, ',')), maximum),
		    'leave out what is not needed, or write ''{*}'' for any');
	END IF;
	RETURN true;
END $$;

-- Plain http that leaves the machine: anybody on the way can be that origin.
CREATE OR REPLACE FUNCTION cors.is_plain_http(origin text)
RETURNS boolean LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT origin LIKE 'http://%'
	   AND origin !~ '^http://(((\*|[a-z0-9_-]+)\.)*localhost|127\.[0-9]+\.[0-9]+\.[0-9]+|\[::1\])(:[0-9*]+)?$'
$$;

-- 2. The tables ---------------------------------------------------------------

-- Which cluster and database the transaction numbers in meta and changes
-- belong to: in a dump restored elsewhere they mean nothing.
CREATE OR REPLACE FUNCTION cors.home()
RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	cluster text;
BEGIN
	BEGIN
		SELECT system_identifier::text INTO cluster FROM pg_control_system();
	EXCEPTION WHEN insufficient_privilege OR undefined_function OR feature_not_supported THEN
		cluster := 'unknown';		-- some hosted services hide it
	END;
	RETURN cluster || '/' || (SELECT oid FROM pg_database WHERE datname = current_database());
END $$;

-- Every step from one version to the next has its own IF, and ends by
-- recording its number.
DO $$
BEGIN
	IF to_regclass('cors.meta') IS NOT NULL THEN
		RETURN;
	END IF;

	CREATE TABLE cors.meta (
		only_row       boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
		schema_version integer     NOT NULL,
		home           text        NOT NULL,
		pruned_xid     xid8        NOT NULL,	-- rows of changes up to this one may be gone
		updated_at     timestamptz NOT NULL DEFAULT now()
	);

	CREATE TABLE cors.policies (
		name           text COLLATE "C" PRIMARY KEY
			CONSTRAINT name_is_valid CHECK (cors.accept_policy_name(name)),
		methods        text[]  NOT NULL DEFAULT '{GET,HEAD,POST}'
			CONSTRAINT methods_are_valid CHECK (cors.accept_list('methods', methods)),
		headers        text[]  NOT NULL DEFAULT '{}'
			CONSTRAINT headers_are_valid CHECK (cors.accept_list('headers', headers)),
		expose_headers text[]  NOT NULL DEFAULT '{}'
			CONSTRAINT expose_headers_are_valid CHECK (cors.accept_list('expose_headers', expose_headers)),
		credentials    boolean NOT NULL DEFAULT false,
		max_age        integer
			CONSTRAINT max_age_is_valid CHECK (max_age IS NULL OR max_age BETWEEN 0 AND 86400
			OR cors.reject('policies', 'max_age', format('%s is not a max_age: it is not between 0 and 86400 seconds', max_age),
			    CASE WHEN max_age < 0 THEN 'write 0 for no caching, or NULL to leave the header out'
				ELSE 'write 86400: no browser keeps a preflight for longer' END)),
		insecure       boolean NOT NULL DEFAULT false,
		note           text,
		CONSTRAINT expose_any_without_credentials CHECK (NOT credentials OR NOT '*' = ANY (expose_headers)
			OR cors.reject('policies', 'expose_headers',
			    format('policy %L may not expose ''*'': with credentials browsers take it for a header of that name', name),
			    'list the headers in expose_headers, or set credentials to false'))
	);
	INSERT INTO cors.policies (name, note) VALUES ('default', 'used by rows that name no policy');

	CREATE TABLE cors.origins (
		realm      text COLLATE "C" NOT NULL DEFAULT ''
			CONSTRAINT realm_is_valid CHECK (
			(octet_length(realm) <= 255 AND realm !~ '[^ -~]')
			OR cors.accept_realm(realm)),
		-- The expression lets ordinary origins pass in two microseconds and
		-- accepts nothing that the function does not: 70 bytes leave 63 for
		-- a host, the last label is no number, and none is Punycode. No
		-- {m,n} in it: bounds cost ten times the rest.
		origin     text COLLATE "C" NOT NULL
			CONSTRAINT origin_is_valid CHECK (
			(length(origin) <= 70 AND strpos(origin, 'xn--') = 0
			 AND origin ~ '^https?://([a-z0-9][a-z0-9-]*\.)*[a-z][a-z0-9-]*(:[1-9][0-9][0-9][0-9])?$')
			OR cors.accept_origin(origin)),
		policy     text COLLATE "C" NOT NULL DEFAULT 'default'
			REFERENCES cors.policies ON UPDATE CASCADE,
		allow      boolean NOT NULL DEFAULT true,
		expires_at timestamptz,
		note       text,
		PRIMARY KEY (realm, origin)
	);
	CREATE INDEX origins_policy ON cors.origins (policy);

	-- The change log. Its order is that of the snapshots in which xid
	-- becomes visible, never that of id or at.
	CREATE TABLE cors.changes (
		xid    xid8        NOT NULL DEFAULT pg_current_xact_id(),
		id     bigint      GENERATED ALWAYS AS IDENTITY,
		-- o: an origin; p: a policy, by its name in realm; *: more than can be said.
		-- No CHECK, which each statement would parse anew: only our triggers write here.
		kind   "char"      NOT NULL,
		realm  text COLLATE "C",
		origin text COLLATE "C",
		at     timestamptz NOT NULL DEFAULT now(),
		wake   boolean     NOT NULL DEFAULT false,	-- one row of a statement carries the wake-up
		PRIMARY KEY (xid, id)
	) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.2);

	INSERT INTO cors.meta (schema_version, home, pruned_xid) VALUES (1, cors.home(), pg_current_xact_id());
END $$;

DO $$
BEGIN
	IF (SELECT schema_version FROM cors.meta) >= 2 THEN
		RETURN;
	END IF;

	-- Whoever has the row is the one; a row, because everybody may take an advisory lock.
	CREATE TABLE cors.gates (gate name PRIMARY KEY);
	INSERT INTO cors.gates VALUES ('wake'), ('follow');

	-- Version 1 took realms that are no UTF-8. NOT VALID: those that are there may leave.
	IF pg_get_constraintdef((SELECT oid FROM pg_constraint
	    WHERE conrelid = 'cors.origins'::regclass AND conname = 'realm_is_valid')) NOT LIKE '%[^ -~]%' THEN
		ALTER TABLE cors.origins DROP CONSTRAINT realm_is_valid;
		ALTER TABLE cors.origins ADD CONSTRAINT realm_is_valid CHECK (
			(octet_length(realm) <= 255 AND realm !~ '[^ -~]') OR cors.accept_realm(realm)) NOT VALID;
	END IF;

	UPDATE cors.meta SET schema_version = 2, updated_at = now();
END $$;

-- What a policy must look at before it may allow credentials.
DO $$
BEGIN
	IF to_regclass('cors.origins_open') IS NULL THEN
		CREATE INDEX origins_open ON cors.origins (policy)
		 WHERE allow AND (origin = '*' OR origin LIKE 'http://%' OR origin LIKE '%://*');
		DROP INDEX IF EXISTS cors.origins_exposed;	-- knew no scheme://*
	END IF;
END $$;

COMMENT ON TABLE cors.policies IS 'what an origin may do; shared by many origins';
COMMENT ON COLUMN cors.policies.methods IS 'HTTP methods, or {*}';
COMMENT ON COLUMN cors.policies.headers IS 'request headers a page may set, or {*}, which never covers Authorization';
COMMENT ON COLUMN cors.policies.expose_headers IS 'response headers a page may read';
COMMENT ON COLUMN cors.policies.credentials IS 'cookies, client certificates and HTTP authentication are sent along';
COMMENT ON COLUMN cors.policies.max_age IS 'seconds a browser may keep a preflight; NULL: it decides';
COMMENT ON COLUMN cors.policies.insecure IS 'credentials also for plain http, scheme://* and patterns over a public suffix';
COMMENT ON TABLE cors.origins IS 'which origin may read what a realm answers, under which policy';
COMMENT ON COLUMN cors.origins.realm IS 'the API or tenant, chosen by the web server as CORS_REALM';
COMMENT ON COLUMN cors.origins.origin IS 'scheme://host[:port], scheme://*.host[:port|:*], scheme://host:*, scheme://* (not http, https, ws, wss, ftp) or *';
COMMENT ON COLUMN cors.origins.allow IS 'false: refused, even where a wider pattern allows it';
COMMENT ON COLUMN cors.origins.expires_at IS 'the row is absent from then on';
COMMENT ON TABLE cors.changes IS 'change log, written by triggers, read by corscache-syncd';
COMMENT ON TABLE cors.meta IS 'one row: the version of this schema and how far the log was pruned';

-- 3. Credentials -------------------------------------------------------------
--
-- A rule over two tables: no '*' under a policy with credentials, and neither
-- plain http nor scheme://* unless the policy says insecure. The row that makes a pair dangerous is
-- refused, whichever it is. A dangerous origin locks its policy FOR SHARE,
-- which an UPDATE of the policy waits for, and the other way round; ordinary
-- rows are let through by the WHEN of the trigger and lock nothing new. It is
-- short, because each statement parses it anew: '*' and 'http:' are below 'https'.

CREATE OR REPLACE FUNCTION cors.check_origin_policy()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	policy cors.policies;
BEGIN
	IF NOT NEW.allow OR NEW.origin <> '*' AND NEW.origin NOT LIKE 'http://%' AND NEW.origin NOT LIKE '%://*' THEN
		RETURN NULL;
	END IF;
	SELECT * INTO policy FROM cors.policies WHERE name = NEW.policy FOR SHARE;
	IF policy.credentials AND NEW.origin = '*' THEN
		PERFORM cors.reject('origins', 'policy',
		    format('''*'' may not use policy %L: the policy allows credentials', NEW.policy),
		    'use a policy with credentials = false, or list the origins one by one');
	ELSIF policy.credentials AND NOT policy.insecure AND cors.is_plain_http(NEW.origin) THEN
		PERFORM cors.reject('origins', 'policy',
		    format('%L may not use policy %L: the policy allows credentials, and plain http can be forged on the way',
			NEW.origin, NEW.policy),
		    'write https, use a policy with credentials = false, or set insecure = true on the policy');
	ELSIF policy.credentials AND NOT policy.insecure AND NEW.origin LIKE '%://*' THEN
		PERFORM cors.reject('origins', 'policy',
		    format('%L may not use policy %L: the policy allows credentials, and any application or extension may have that scheme',
			NEW.origin, NEW.policy),
		    'list the origins one by one, use a policy with credentials = false, or set insecure = true on the policy');
	END IF;
	RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION cors.check_policy_origins()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	culprit cors.origins;
BEGIN
	-- An older snapshot would not show the rows that were committed while
	-- we waited for the lock.
	IF current_setting('transaction_isolation') <> 'read committed' THEN
		RAISE EXCEPTION 'credentials of policy % can only be widened in a READ COMMITTED transaction', quote_literal(NEW.name)
		USING ERRCODE = 'invalid_transaction_state',
		    HINT = 'begin the transaction with BEGIN ISOLATION LEVEL READ COMMITTED';
	END IF;
	SELECT * INTO culprit FROM cors.origins
	 WHERE policy = NEW.name AND allow AND (origin = '*' OR origin LIKE 'http://%' OR origin LIKE '%://*')
	   AND (origin = '*' OR NOT NEW.insecure AND (origin LIKE '%://*' OR cors.is_plain_http(origin)))
	 LIMIT 1;
	IF culprit.origin = '*' THEN
		PERFORM cors.reject('policies', 'credentials',
		    format('policy %L may not allow credentials: ''*'' uses it in realm %L', NEW.name, culprit.realm),
		    'give ''*'' a policy of its own, or delete that row first');
	ELSIF culprit.origin LIKE '%://*' THEN
		PERFORM cors.reject('policies', 'credentials',
		    format('policy %L may not allow credentials: %L in realm %L uses it, and any application or extension may have that scheme',
			NEW.name, culprit.origin, culprit.realm),
		    'give that pattern a policy of its own, list its origins one by one, or set insecure = true on the policy');
	ELSIF culprit.origin IS NOT NULL THEN
		PERFORM cors.reject('policies', 'credentials',
		    format('policy %L may not allow credentials: %L in realm %L uses it, and plain http can be forged on the way',
			NEW.name, culprit.origin, culprit.realm),
		    'give that origin https or a policy of its own, or set insecure = true on the policy');
	END IF;
	RETURN NULL;
END $$;

-- 4. The change log -----------------------------------------------------------
--
-- Statement triggers write the keys of what changed in the columns that the
-- shared table holds; note is not among them. Where a statement touches more
-- than 10000 rows, one row '*' asks for a snapshot instead.

CREATE OR REPLACE FUNCTION cors.log_origins()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	most constant integer := 10000;
BEGIN
	IF TG_OP = 'UPDATE' THEN
		WITH difference AS (
			(SELECT realm, origin, policy, allow, expires_at FROM old_rows
			 EXCEPT ALL
			 SELECT realm, origin, policy, allow, expires_at FROM new_rows)
			UNION ALL
			(SELECT realm, origin, policy, allow, expires_at FROM new_rows
			 EXCEPT ALL
			 SELECT realm, origin, policy, allow, expires_at FROM old_rows)
		), changed AS MATERIALIZED (
			SELECT DISTINCT realm, origin FROM difference LIMIT most + 1
		), total AS (
			SELECT count(*) AS n FROM changed
		)
		INSERT INTO cors.changes (kind, realm, origin, wake)
		SELECT 'o', realm, origin, row_number() OVER () = 1 FROM changed, total WHERE n <= most
		UNION ALL
		SELECT '*', NULL, NULL, true FROM total WHERE n > most;
	ELSIF TG_OP = 'TRUNCATE' THEN
		INSERT INTO cors.changes (kind, wake) VALUES ('*', pg_catalog.current_setting('session_replication_role') OPERATOR(pg_catalog.<>) 'replica');
	ELSIF NOT EXISTS (SELECT FROM touched OFFSET 1) THEN	-- one row: the most frequent, and so the cheapest
		INSERT INTO cors.changes (kind, realm, origin, wake) SELECT 'o', realm, origin, true FROM touched;
	ELSIF NOT EXISTS (SELECT FROM touched OFFSET most) THEN
		INSERT INTO cors.changes (kind, realm, origin, wake)
		SELECT 'o', realm, origin, row_number() OVER () = 1 FROM touched;
	ELSE
		INSERT INTO cors.changes (kind, wake) VALUES ('*', true);
	END IF;
	RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION cors.log_policies()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF TG_OP IN ('INSERT', 'DELETE') THEN
		INSERT INTO cors.changes (kind, realm, wake)
		SELECT 'p', name, row_number() OVER () = 1 FROM touched;
	ELSIF TG_OP = 'UPDATE' THEN
		INSERT INTO cors.changes (kind, realm, wake)
		SELECT 'p', name, row_number() OVER () = 1 FROM (
			(SELECT name, methods, headers, expose_headers, credentials, max_age, insecure FROM old_rows
			 EXCEPT
			 SELECT name, methods, headers, expose_headers, credentials, max_age, insecure FROM new_rows)
			UNION ALL
			(SELECT name, methods, headers, expose_headers, credentials, max_age, insecure FROM new_rows
			 EXCEPT
			 SELECT name, methods, headers, expose_headers, credentials, max_age, insecure FROM old_rows)
		) difference GROUP BY name;
	ELSE
		INSERT INTO cors.changes (kind, wake) VALUES ('*', pg_catalog.current_setting('session_replication_role') OPERATOR(pg_catalog.<>) 'replica');
	END IF;
	RETURN NULL;
END $$;

-- The same for session_replication_role = replica (logical replication, bulk
-- loads), where statement triggers do not fire. Nothing is woken there: the
-- worker that applies a subscription may neither queue a deferred trigger
-- (since PostgreSQL 16) nor NOTIFY in a transaction that is to be prepared. Polls find it.
CREATE OR REPLACE FUNCTION cors.log_replicated()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF TG_TABLE_NAME = 'policies' THEN
		IF TG_OP <> 'INSERT' THEN
			INSERT INTO cors.changes (kind, realm) VALUES ('p', OLD.name);
		END IF;
		IF TG_OP <> 'DELETE' THEN
			INSERT INTO cors.changes (kind, realm) VALUES ('p', NEW.name);
		END IF;
	ELSE
		IF TG_OP <> 'INSERT' THEN
			INSERT INTO cors.changes (kind, realm, origin) VALUES ('o', OLD.realm, OLD.origin);
		END IF;
		IF TG_OP <> 'DELETE' THEN
			INSERT INTO cors.changes (kind, realm, origin) VALUES ('o', NEW.realm, NEW.origin);
		END IF;
	END IF;
	RETURN NULL;
END $$;

-- A publication FOR ALL TABLES carries the log and meta too, with the
-- publisher's transaction numbers: only what our own triggers wrote may stay.
CREATE OR REPLACE FUNCTION cors.drop_replicated()
RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF TG_TABLE_NAME = 'changes' AND TG_OP = 'INSERT' THEN
		IF NEW.xid = pg_current_xact_id() THEN
			RETURN NEW;
		END IF;
	END IF;
	RETURN NULL;
END $$;

-- NOTIFY holds a lock of the whole cluster until its COMMIT is on disk, so
-- notifying transactions commit one at a time. Hence at COMMIT (deferred), and
-- only one committing transaction at a time carries the wake-up: who loses the
-- race is found by the polls that follow a wake-up. The log is the truth. The
-- race is for a row of ours: a stranger cannot take it and keep us from waking.
CREATE OR REPLACE FUNCTION cors.wake()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF coalesce(current_setting('cors.notify', true), '') <> 'off'	-- PREPARE TRANSACTION refuses NOTIFY
	    AND pg_notification_queue_usage() < 0.5			-- a stuck listener must not stop writers
	    AND EXISTS (SELECT FROM cors.gates WHERE gate = 'wake' FOR UPDATE SKIP LOCKED) THEN
		PERFORM pg_notify('cors_changes', '');
	END IF;
	RETURN NULL;
END $$;

-- The triggers that make this schema work, and the mode each must be in:
-- O(rigin), A(lways), R(eplica).
CREATE OR REPLACE FUNCTION cors.wanted_triggers(OUT tab name, OUT trg name, OUT mode "char", OUT fires text, OUT does text)
RETURNS SETOF record LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT tab::name, trg::name, mode::"char", fires, does FROM (VALUES
	('origins', 'log_insert', 'O', 'AFTER INSERT',
	    'REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION cors.log_origins()'),
	('origins', 'log_update', 'O', 'AFTER UPDATE',
	    'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION cors.log_origins()'),
	('origins', 'log_delete', 'O', 'AFTER DELETE',
	    'REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION cors.log_origins()'),
	('origins', 'log_truncate', 'A', 'AFTER TRUNCATE',
	    'FOR EACH STATEMENT EXECUTE FUNCTION cors.log_origins()'),
	('origins', 'log_replicated', 'R', 'AFTER INSERT OR UPDATE OR DELETE',
	    'FOR EACH ROW EXECUTE FUNCTION cors.log_replicated()'),
	('origins', 'check_policy', 'O', 'AFTER INSERT OR UPDATE',
	    'FOR EACH ROW WHEN (NEW.origin < ''https'') EXECUTE FUNCTION cors.check_origin_policy()'),
	('origins', 'check_scheme', 'O', 'AFTER INSERT OR UPDATE',
	    'FOR EACH ROW WHEN (NEW.origin LIKE ''%://*'') EXECUTE FUNCTION cors.check_origin_policy()'),
	('policies', 'log_insert', 'O', 'AFTER INSERT',
	    'REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION cors.log_policies()'),
	('policies', 'log_update', 'O', 'AFTER UPDATE',
	    'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION cors.log_policies()'),
	('policies', 'log_delete', 'O', 'AFTER DELETE',
	    'REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION cors.log_policies()'),
	('policies', 'log_truncate', 'A', 'AFTER TRUNCATE',
	    'FOR EACH STATEMENT EXECUTE FUNCTION cors.log_policies()'),
	('policies', 'log_replicated', 'R', 'AFTER INSERT OR UPDATE OR DELETE',
	    'FOR EACH ROW EXECUTE FUNCTION cors.log_replicated()'),
	('policies', 'check_origins', 'O', 'AFTER UPDATE',
	    'FOR EACH ROW WHEN (NEW.credentials AND (NOT OLD.credentials OR OLD.insecure AND NOT NEW.insecure))
	    EXECUTE FUNCTION cors.check_policy_origins()'),
	('changes', 'wake', 'A', 'AFTER INSERT',
	    'DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.wake) EXECUTE FUNCTION cors.wake()'),
	('changes', 'drop_replicated', 'R', 'BEFORE INSERT OR UPDATE OR DELETE',
	    'FOR EACH ROW EXECUTE FUNCTION cors.drop_replicated()'),
	('meta', 'drop_replicated', 'R', 'BEFORE INSERT OR UPDATE OR DELETE',
	    'FOR EACH ROW EXECUTE FUNCTION cors.drop_replicated()')
	) wanted (tab, trg, mode, fires, does)
$$;

-- Only what is missing or in another mode is touched: creating a trigger locks
-- out writers, and a new one voids every reader's position.
DO $$
DECLARE
	wanted record;
	mode   "char";
BEGIN
	FOR wanted IN SELECT * FROM cors.wanted_triggers() LOOP
		SELECT tgenabled INTO mode FROM pg_trigger
		 WHERE tgrelid = ('cors.' || wanted.tab)::regclass AND tgname = wanted.trg;
		IF NOT FOUND THEN
			EXECUTE format('CREATE %s TRIGGER %I %s ON cors.%I %s',
			    CASE WHEN wanted.does LIKE 'DEFERRABLE%' THEN 'CONSTRAINT' END,
			    wanted.trg, wanted.fires, wanted.tab, wanted.does);
			mode := 'O';
		END IF;
		IF mode <> wanted.mode THEN
			EXECUTE format('ALTER TABLE cors.%I ENABLE %s TRIGGER %I', wanted.tab,
			    CASE wanted.mode WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' END, wanted.trg);
		END IF;
	END LOOP;
END $$;

-- 5. For the reader -----------------------------------------------------------

-- Everything that makes an old position worthless, in one opaque string:
-- another server or a restart, a crash inside one postmaster, another
-- database, tables rewritten, swapped or truncated, triggers switched off and
-- on. to_regclass(), because a ::regclass here would be frozen to today's OID;
-- in a sub-select, or it would be looked up for every row of pg_trigger.
CREATE OR REPLACE VIEW cors.token AS
	SELECT concat_ws(',', pg_postmaster_start_time(),
	    (SELECT stats_reset FROM pg_stat_bgwriter),
	    pg_relation_filepath(to_regclass('cors.origins')),	-- has the database's oid in it
	    pg_relation_filepath(to_regclass('cors.policies')),
	    pg_relation_filepath(to_regclass('cors.changes')),
	    (SELECT array_agg(xmin ORDER BY oid) FROM pg_trigger
	      WHERE tgrelid = ANY ((SELECT ARRAY[to_regclass('cors.origins'), to_regclass('cors.policies'),
			to_regclass('cors.changes')])::oid[])
	        AND NOT tgisinternal)) AS token;

-- NULL when the change log can be trusted, otherwise what is wrong with it.
CREATE OR REPLACE FUNCTION cors.problem()
RETURNS text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT string_agg(problem, '; ') FROM (
		SELECT format('trigger %s on cors.%s is %s: run 0001_schema.sql again', w.trg, w.tab,
		       CASE WHEN t.oid IS NULL THEN 'missing' ELSE 'in the wrong mode' END) AS problem
		  FROM cors.wanted_triggers() w
		  LEFT JOIN pg_trigger t ON t.tgrelid = to_regclass('cors.' || w.tab) AND t.tgname = w.trg AND NOT t.tgisinternal
		 WHERE t.tgenabled IS DISTINCT FROM w.mode
		UNION ALL
		SELECT format('cors.%s is a %s: writes to its parts bypass the triggers', relname,
		       CASE relkind WHEN 'r' THEN 'parent table' WHEN 'p' THEN 'partitioned table' ELSE 'view or a foreign table' END)
		  FROM pg_class WHERE oid IN (to_regclass('cors.origins'), to_regclass('cors.policies'))
		   AND (relkind <> 'r' OR EXISTS (SELECT FROM pg_inherits WHERE inhparent = pg_class.oid))
		UNION ALL
		SELECT format('cors.%s is not logged: a crash empties it, and standbys do not see it', relname)
		  FROM pg_class WHERE oid IN (to_regclass('cors.origins'), to_regclass('cors.policies'), to_regclass('cors.changes'))
		   AND relpersistence <> 'p'
		UNION ALL
		SELECT format('row level security is on for cors.%s: readers may see only a part of it', relname)
		  FROM pg_class WHERE oid IN (to_regclass('cors.origins'), to_regclass('cors.policies'), to_regclass('cors.changes'))
		   AND relrowsecurity
		UNION ALL
		SELECT 'cors.meta has lost its row' WHERE NOT EXISTS (SELECT FROM cors.meta)
		UNION ALL
		SELECT format('cors.gates has lost its row %L: INSERT INTO cors.gates VALUES (%1$L)', wanted)
		  FROM unnest('{wake,follow}'::name[]) wanted WHERE wanted NOT IN (SELECT gate FROM cors.gates)
	) problems
$$;

-- Deletes log rows older than keep (ten minutes at least) and records how far;
-- returns how many. The first run after a restore from another cluster empties
-- the log and makes this database its home.
CREATE OR REPLACE FUNCTION cors.prune(keep interval DEFAULT '1 day', max_rows integer DEFAULT 50000)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	horizon xid8;
	n       bigint;
BEGIN
	PERFORM FROM cors.meta FOR UPDATE SKIP LOCKED;		-- a row of ours, which strangers cannot lock
	IF NOT FOUND THEN
		RAISE NOTICE 'nothing is pruned: another cors.prune() is at it';
		RETURN 0;
	END IF;
	IF (SELECT home FROM cors.meta) IS DISTINCT FROM cors.home() THEN
		DELETE FROM cors.changes;
		GET DIAGNOSTICS n = ROW_COUNT;
		UPDATE cors.meta SET home = cors.home(), pruned_xid = pg_current_xact_id(), updated_at = now();
		RETURN n;
	END IF;
	-- Nothing at or above the oldest running transaction. (max(xid8) needs PostgreSQL 15.)
	SELECT xid INTO horizon FROM (
		SELECT xid, at FROM cors.changes
		 WHERE xid < pg_snapshot_xmin(pg_current_snapshot())
		 ORDER BY xid, id LIMIT max_rows) oldest
	 WHERE at < now() - greatest(keep, interval '10 minutes')
	 ORDER BY xid DESC LIMIT 1;
	IF horizon IS NULL THEN
		RETURN 0;
	END IF;
	UPDATE cors.meta SET pruned_xid = greatest(pruned_xid, horizon), updated_at = now();
	DELETE FROM cors.changes WHERE xid <= horizon;	-- never TRUNCATE: older snapshots must keep their rows
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n;
END $$;

CREATE OR REPLACE FUNCTION cors.status(OUT item text, OUT value text)
RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT 'schema version', schema_version::text FROM cors.meta
	UNION ALL SELECT 'problem', coalesce(cors.problem(), 'none')
	UNION ALL SELECT 'origins (estimate)', greatest(reltuples, 0)::bigint::text FROM pg_class WHERE oid = to_regclass('cors.origins')
	UNION ALL SELECT 'policies', count(*)::text FROM cors.policies
	UNION ALL SELECT 'change log rows', count(*)::text FROM cors.changes
	UNION ALL SELECT 'change log since', coalesce(min(at)::text, '-') FROM cors.changes
	UNION ALL SELECT 'readers connected', count(*)::text FROM pg_stat_activity
		WHERE datname = current_database() AND application_name LIKE 'corscache-syncd%'
	UNION ALL SELECT 'notification queue used', pg_notification_queue_usage()::text
$$;

-- 6. Helpers ------------------------------------------------------------------
-- They run with the caller's rights.

-- The row then allows the origin. What is not named, it keeps; but an end that
-- is over would refuse. 'infinity' takes the end away.
CREATE OR REPLACE FUNCTION cors.allow(origin text, realm text DEFAULT '', policy text DEFAULT NULL,
    expires timestamptz DEFAULT NULL, note text DEFAULT NULL)
RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
	INSERT INTO cors.origins AS o (realm, origin, policy, allow, expires_at, note)
	VALUES ($2, $1, coalesce($3, 'default'), true, nullif($4, 'infinity'), $5)
	ON CONFLICT ON CONSTRAINT origins_pkey DO UPDATE
	SET policy = coalesce($3, o.policy), allow = true, note = coalesce($5, o.note),
	    expires_at = nullif(coalesce($4, CASE WHEN o.expires_at > clock_timestamp() THEN o.expires_at END), 'infinity')
$$;

-- A refusal never expires: a wider pattern would allow the origin again.
CREATE OR REPLACE FUNCTION cors.refuse(origin text, realm text DEFAULT '', note text DEFAULT NULL)
RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
	INSERT INTO cors.origins AS o (realm, origin, allow, note)
	VALUES ($2, $1, false, $3)
	ON CONFLICT ON CONSTRAINT origins_pkey DO UPDATE
	SET allow = false, expires_at = NULL, note = coalesce(excluded.note, o.note)
$$;

-- true: there was such a row.
CREATE OR REPLACE FUNCTION cors.remove(origin text, realm text DEFAULT '')
RETURNS boolean LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
	WITH gone AS (DELETE FROM cors.origins o WHERE o.realm = $2 AND o.origin = $1 RETURNING 1)
	SELECT count(*) > 0 FROM gone
$$;

-- The realm then holds exactly these origins, all allowed, under this policy if
-- one is named. A row keeps its policy otherwise, its note, and an end that is
-- not over; rows that are so already are left alone. EXCEPT and INTERSECT,
-- because a join with unnest() may become a nested loop.
CREATE OR REPLACE FUNCTION cors.set_realm(realm text, origins text[], policy text DEFAULT NULL,
    OUT added bigint, OUT changed bigint, OUT removed bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
	DELETE FROM cors.origins o WHERE o.realm = $1 AND o.origin = ANY (ARRAY(
		SELECT origin FROM cors.origins WHERE realm = $1 EXCEPT SELECT unnest($2)));
	GET DIAGNOSTICS removed = ROW_COUNT;
	UPDATE cors.origins o SET policy = coalesce($3, o.policy), allow = true,
		expires_at = CASE WHEN o.expires_at > clock_timestamp() THEN o.expires_at END
	 WHERE o.realm = $1 AND o.origin = ANY (ARRAY(
		SELECT origin FROM cors.origins
		 WHERE realm = $1 AND (policy <> $3 OR NOT allow OR expires_at <= clock_timestamp())
		INTERSECT SELECT unnest($2)));
	GET DIAGNOSTICS changed = ROW_COUNT;
	INSERT INTO cors.origins (realm, origin, policy)
		SELECT $1, missing, coalesce($3, 'default') FROM (
			SELECT unnest($2) EXCEPT SELECT origin FROM cors.origins WHERE realm = $1) m (missing)
		ON CONFLICT DO NOTHING;
	GET DIAGNOSTICS added = ROW_COUNT;
END $$;

-- Deletes rows whose end has been over for so long, max_rows at most; returns
-- how many. Nobody's answer changes. Not done by cors.prune(): the log is ours,
-- the rows are the application's, and so is the record of who was let in.
CREATE OR REPLACE FUNCTION cors.purge_expired(older_than interval DEFAULT '0', max_rows integer DEFAULT 10000)
RETURNS bigint LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
	WITH over AS (
		SELECT realm, origin FROM cors.origins WHERE expires_at <= clock_timestamp() - greatest($1, '0')
		 ORDER BY realm, origin LIMIT $2 FOR UPDATE SKIP LOCKED
	), gone AS (
		DELETE FROM cors.origins o USING over WHERE o.realm = over.realm AND o.origin = over.origin RETURNING 1
	)
	SELECT count(*) FROM gone
$$;

-- 7. Roles --------------------------------------------------------------------
-- cors_reader: corscache-syncd. cors_editor: the application.

DO $$
DECLARE
	role name;
BEGIN
	FOREACH role IN ARRAY '{cors_reader,cors_editor}'::name[] LOOP
		CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = role);
		BEGIN
			EXECUTE format('CREATE ROLE %I NOLOGIN', role);
		EXCEPTION
		WHEN duplicate_object OR unique_violation THEN
			NULL;		-- made at this moment for another database
		WHEN insufficient_privilege THEN
			RAISE WARNING 'role % does not exist and may not be created by %', role, current_user
			USING HINT = format('let an administrator run CREATE ROLE %I NOLOGIN, then run this file again', role);
		END;
	END LOOP;
END $$;

-- Since PostgreSQL 16 CREATEROLE alone does not do: who made the roles may grant
-- them, and who was given the right to.
DO $$
DECLARE
	blocked text := (SELECT string_agg(quote_ident(rolname), ', ' ORDER BY rolname) FROM pg_roles
	    WHERE rolname IN ('cors_reader', 'cors_editor') AND NOT pg_has_role(current_user, oid, 'USAGE WITH ADMIN OPTION')
	    AND NOT (current_setting('server_version_num')::integer < 160000
	    AND (SELECT rolcreaterole FROM pg_roles WHERE rolname = current_user)));
BEGIN
	IF blocked IS NOT NULL THEN
		RAISE WARNING '% may not grant % to anybody', current_user, blocked
		USING HINT = format('the schema works; let an administrator run GRANT %s TO %I WITH ADMIN OPTION, or grant them'
		    ' to the roles of corscache-syncd and of the application', blocked, current_user);
	END IF;
END $$;

REVOKE ALL ON ALL TABLES IN SCHEMA cors FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA cors FROM PUBLIC;
DO $$
BEGIN
	IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'cors_reader') THEN
		GRANT USAGE ON SCHEMA cors TO cors_reader;
		GRANT SELECT ON cors.origins, cors.policies, cors.changes, cors.meta, cors.token TO cors_reader;
		GRANT EXECUTE ON FUNCTION cors.home(), cors.problem(), cors.prune(interval, integer), cors.status() TO cors_reader;
	END IF;
	IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'cors_editor') THEN
		GRANT USAGE ON SCHEMA cors TO cors_editor;
		GRANT SELECT, INSERT, UPDATE, DELETE ON cors.origins, cors.policies TO cors_editor;
		-- reject and accept_*: a CHECK runs with the rights of whoever writes.
		GRANT EXECUTE ON FUNCTION cors.check_origin(text), cors.check_host(text, text, boolean), cors.is_special(text), cors.ipv6_text(text),
		    cors.is_punycode(text), cors.suggest_origin(text), cors.check_name(name, text), cors.reject(name, name, text, text),
		    cors.as_utf8(text), cors.purge_expired(interval, integer),
		    cors.accept_origin(text), cors.accept_realm(text), cors.accept_policy_name(text), cors.accept_list(name, text[]),
		    cors.allow(text, text, text, timestamptz, text), cors.refuse(text, text, text), cors.remove(text, text),
		    cors.set_realm(text, text[], text), cors.status() TO cors_editor;
	END IF;
END $$;

COMMIT;
