# SPDX-License-Identifier: BSD-2-Clause
"""stranger -- a stranger's schema with all that pg_catalog has; whatever is taken from it says so in an error."""

# Plain languages may not declare VARIADIC "any", but undercut concat_ws() with arguments that match exactly.
CREATE = r"""
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE FUNCTION evil.taken(what text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'evil code has run: %', what; END $$;
CREATE FUNCTION evil.concat_ws(text, xid8, oid, oid, oid) RETURNS text LANGUAGE sql AS $$ SELECT evil.taken('concat_ws')::text $$;
DO $do$
DECLARE
	f record;
BEGIN
	FOR f IN
		SELECT format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', proname, pg_get_function_identity_arguments(oid),
		       pg_get_function_result(oid), format('BEGIN PERFORM evil.taken(%L); END', proname)) AS sql
		  FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f'
		UNION ALL
		SELECT format('CREATE FUNCTION evil.operator_%1$s(%2$s, %3$s) RETURNS %4$s LANGUAGE plpgsql AS %5$L;'
		       'CREATE OPERATOR evil.%6$s (FUNCTION = evil.operator_%1$s, LEFTARG = %2$s, RIGHTARG = %3$s)',
		       oid, format_type(oprleft, NULL), format_type(oprright, NULL), format_type(oprresult, NULL),
		       format('BEGIN PERFORM evil.taken(%L); END', oprname), oprname)
		  FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprleft <> 0
		UNION ALL
		SELECT format('CREATE DOMAIN evil.%1$I AS pg_catalog.%1$I CHECK (evil.taken(%1$L))', typname)
		  FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b' AND typname !~ '^_'
	LOOP
		BEGIN
			EXECUTE f.sql;
		EXCEPTION WHEN OTHERS THEN
			NULL;		-- takes what no plain language declares
		END;
	END LOOP;
END $do$;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA evil TO PUBLIC;
"""

SEARCH = "evil, public, pg_catalog"
