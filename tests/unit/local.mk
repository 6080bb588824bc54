# tests/unit
unit_cflags = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JANSSON_CFLAGS)
unit_libs = lib/libcorscache.a $(CHECK_LIBS)

check_PROGRAMS += tests/unit/check_siphash
TESTS += tests/unit/check_siphash
tests_unit_check_siphash_SOURCES = tests/unit/check_siphash.c tests/unit/run.h
tests_unit_check_siphash_CFLAGS = $(unit_cflags)
tests_unit_check_siphash_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/check_config
TESTS += tests/unit/check_config
tests_unit_check_config_SOURCES = tests/unit/check_config.c tests/unit/run.h
tests_unit_check_config_CFLAGS = $(unit_cflags)
tests_unit_check_config_LDADD = $(unit_libs) $(CONFUSE_LIBS)

check_PROGRAMS += tests/unit/check_log
TESTS += tests/unit/check_log
tests_unit_check_log_SOURCES = tests/unit/check_log.c tests/unit/run.h
tests_unit_check_log_CFLAGS = $(unit_cflags)
tests_unit_check_log_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/check_sdnotify
TESTS += tests/unit/check_sdnotify
tests_unit_check_sdnotify_SOURCES = tests/unit/check_sdnotify.c tests/unit/run.h
tests_unit_check_sdnotify_CFLAGS = $(unit_cflags)
tests_unit_check_sdnotify_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/check_vectors
TESTS += tests/unit/check_vectors
tests_unit_check_vectors_SOURCES = tests/unit/check_vectors.c tests/unit/vectors.c tests/unit/vectors.h \
	tests/unit/tables.h tests/unit/run.h
tests_unit_check_vectors_CPPFLAGS = $(AM_CPPFLAGS) -DVECTORS='"$(abs_top_srcdir)/tests/vectors"'
tests_unit_check_vectors_CFLAGS = $(unit_cflags)
tests_unit_check_vectors_LDADD = $(unit_libs) $(JANSSON_LIBS) $(PSL_LIBS)
EXTRA_DIST += tests/vectors/README.md tests/vectors/public.jsonl tests/vectors/applications.jsonl

check_PROGRAMS += tests/unit/check_origin
TESTS += tests/unit/check_origin
tests_unit_check_origin_SOURCES = tests/unit/check_origin.c tests/unit/run.h
tests_unit_check_origin_CFLAGS = $(unit_cflags)
tests_unit_check_origin_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/check_policy
TESTS += tests/unit/check_policy
tests_unit_check_policy_SOURCES = tests/unit/check_policy.c tests/unit/run.h
tests_unit_check_policy_CFLAGS = $(unit_cflags)
tests_unit_check_policy_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/check_suffix
TESTS += tests/unit/check_suffix
tests_unit_check_suffix_SOURCES = tests/unit/check_suffix.c tests/unit/run.h
tests_unit_check_suffix_CFLAGS = $(unit_cflags)
tests_unit_check_suffix_LDADD = $(unit_libs) $(PSL_LIBS)

check_PROGRAMS += tests/unit/check_table
TESTS += tests/unit/check_table
tests_unit_check_table_SOURCES = tests/unit/check_table.c tests/unit/rows.h tests/unit/tables.h tests/unit/run.h
tests_unit_check_table_CFLAGS = $(unit_cflags)
tests_unit_check_table_LDADD = $(unit_libs)
check_PROGRAMS += tests/unit/check_full
TESTS += tests/unit/check_full
tests_unit_check_full_SOURCES = tests/unit/check_full.c tests/unit/tables.h tests/unit/run.h
tests_unit_check_full_CFLAGS = $(unit_cflags)
tests_unit_check_full_LDFLAGS = -Wl,--wrap=posix_fallocate
tests_unit_check_full_LDADD = $(unit_libs)
check_PROGRAMS += tests/unit/check_revoked
TESTS += tests/unit/check_revoked
tests_unit_check_revoked_SOURCES = tests/unit/check_revoked.c tests/unit/tables.h tests/unit/run.h
tests_unit_check_revoked_CFLAGS = $(unit_cflags)
tests_unit_check_revoked_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/check_decide
TESTS += tests/unit/check_decide
tests_unit_check_decide_SOURCES = tests/unit/check_decide.c tests/unit/run.h
tests_unit_check_decide_CFLAGS = $(unit_cflags)
tests_unit_check_decide_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/check_headers
TESTS += tests/unit/check_headers
tests_unit_check_headers_SOURCES = tests/unit/check_headers.c tests/unit/run.h
tests_unit_check_headers_CFLAGS = $(unit_cflags)
tests_unit_check_headers_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/check_model
TESTS += tests/unit/check_model
tests_unit_check_model_SOURCES = tests/unit/check_model.c tests/unit/run.h
tests_unit_check_model_CFLAGS = $(unit_cflags)
tests_unit_check_model_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/check_table_differential
TESTS += tests/unit/check_table_differential
tests_unit_check_table_differential_SOURCES = tests/unit/check_table_differential.c tests/unit/tables.h tests/unit/run.h
tests_unit_check_table_differential_CFLAGS = $(unit_cflags)
tests_unit_check_table_differential_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/torture
TESTS += tests/unit/torture
tests_unit_torture_SOURCES = tests/unit/torture.c tests/unit/tables.h tests/unit/slow.h \
	lib/layout.c lib/shard.c lib/segment.c lib/reader.c lib/writer.c lib/siphash.c lib/origin.c lib/policy.c lib/decide.c \
	lib/table.c lib/table_part.c lib/table_policy.c lib/table_realm.c lib/table_row.c lib/revoked.c
tests_unit_torture_CFLAGS = $(AM_CFLAGS) -include $(srcdir)/tests/unit/slow.h

check_PROGRAMS += tests/unit/check_damage
TESTS += tests/unit/check_damage
tests_unit_check_damage_SOURCES = tests/unit/check_damage.c tests/unit/tables.h tests/unit/run.h
tests_unit_check_damage_CFLAGS = $(unit_cflags)
tests_unit_check_damage_LDFLAGS = -Wl,--wrap=mmap
tests_unit_check_damage_LDADD = $(unit_libs)
TESTS += tests/unit/bounded_test.py
EXTRA_DIST += tests/unit/bounded_test.py
TESTS += tests/unit/arrows.py tests/unit/qualified.py
EXTRA_DIST += tests/unit/arrows.py tests/unit/qualified.py

check_PROGRAMS += tests/unit/check_counters
TESTS += tests/unit/check_counters
tests_unit_check_counters_SOURCES = tests/unit/check_counters.c tests/unit/rows.h tests/unit/run.h
tests_unit_check_counters_CFLAGS = $(unit_cflags)
tests_unit_check_counters_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/check_request
TESTS += tests/unit/check_request
tests_unit_check_request_SOURCES = tests/unit/check_request.c responder/request.c responder/request.h tests/unit/run.h
tests_unit_check_request_CFLAGS = $(unit_cflags)
tests_unit_check_request_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/check_fcgi
TESTS += tests/unit/check_fcgi
tests_unit_check_fcgi_SOURCES = tests/unit/check_fcgi.c tests/unit/run.h responder/feed.c responder/feed.h \
	responder/frames.c responder/frames.h
tests_unit_check_fcgi_CFLAGS = $(unit_cflags) $(FCGI_CFLAGS)
tests_unit_check_fcgi_LDADD = $(CHECK_LIBS) $(FCGI_LIBS)

check_PROGRAMS += tests/unit/check_frames
TESTS += tests/unit/check_frames
tests_unit_check_frames_SOURCES = tests/unit/check_frames.c tests/unit/run.h responder/frames.c responder/frames.h
tests_unit_check_frames_CFLAGS = $(unit_cflags)
tests_unit_check_frames_LDADD = $(CHECK_LIBS)

check_PROGRAMS += tests/unit/check_wire
TESTS += tests/unit/check_wire
tests_unit_check_wire_SOURCES = tests/unit/check_wire.c tests/unit/run.h \
	syncd/wire.c syncd/wire.h syncd/keyset.c syncd/keyset.h
tests_unit_check_wire_CFLAGS = $(unit_cflags)
tests_unit_check_wire_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/check_frequent
TESTS += tests/unit/check_frequent
tests_unit_check_frequent_SOURCES = tests/unit/check_frequent.c tests/unit/run.h
tests_unit_check_frequent_CFLAGS = $(unit_cflags)
tests_unit_check_frequent_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/check_refusals
TESTS += tests/unit/check_refusals
tests_unit_check_refusals_SOURCES = tests/unit/check_refusals.c tests/unit/rows.h tests/unit/run.h
tests_unit_check_refusals_CFLAGS = $(unit_cflags)
tests_unit_check_refusals_LDADD = $(unit_libs)
check_PROGRAMS += tests/unit/check_query
TESTS += tests/unit/check_query
tests_unit_check_query_SOURCES = tests/unit/check_query.c responder/query.c responder/query.h tests/unit/run.h
tests_unit_check_query_CFLAGS = $(unit_cflags)
tests_unit_check_query_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/check_html
TESTS += tests/unit/check_html
tests_unit_check_html_SOURCES = tests/unit/check_html.c responder/html.c responder/html.h tests/unit/run.h
tests_unit_check_html_CFLAGS = $(unit_cflags)
tests_unit_check_html_LDADD = $(unit_libs)

TESTS += tests/unit/docs_test.py
EXTRA_DIST += tests/unit/docs_test.py

check_PROGRAMS += tests/unit/check_explain
TESTS += tests/unit/check_explain
tests_unit_check_explain_SOURCES = tests/unit/check_explain.c tests/unit/tables.h tests/unit/run.h
tests_unit_check_explain_CFLAGS = $(unit_cflags)
tests_unit_check_explain_LDADD = $(unit_libs)
