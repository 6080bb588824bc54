# libcorscache.a: what the three programs share. The reading half (reader,
# answer, explain, headers, decide, policy, origin, segment, group, siphash) needs libc only.
noinst_LIBRARIES += lib/libcorscache.a
lib_libcorscache_a_SOURCES =
lib_libcorscache_a_CFLAGS = $(AM_CFLAGS) $(CONFUSE_CFLAGS) $(PSL_CFLAGS)
lib_libcorscache_a_SOURCES += lib/siphash.c lib/siphash.h
lib_libcorscache_a_SOURCES += lib/config.c lib/config.h lib/options.def lib/nearest.c lib/nearest.h
lib_libcorscache_a_SOURCES += lib/log.c lib/log.h lib/sdnotify.c lib/sdnotify.h
lib_libcorscache_a_SOURCES += lib/layout.c lib/layout.h lib/fingerprint.h \
	lib/count.h lib/key.h lib/row.h lib/status.def \
	lib/shard.c lib/shard.h lib/segment.c lib/segment.h \
	lib/reader.c lib/reader.h lib/answer.c lib/answer.h \
	lib/table.c lib/table.h lib/table_part.c lib/table_realm.c lib/table_policy.c lib/table_row.c \
	lib/revoked.c lib/revoked.h lib/writer.c lib/writer.h
lib_libcorscache_a_SOURCES += lib/origin.c lib/origin.h lib/policy.c lib/policy.h
lib_libcorscache_a_SOURCES += lib/decide.c lib/decide.h lib/reasons.def lib/headers.c lib/headers.h
lib_libcorscache_a_SOURCES += lib/suffix.c lib/suffix.h
lib_libcorscache_a_SOURCES += lib/control.c lib/control.h
lib_libcorscache_a_SOURCES += lib/counters.c lib/counters.h lib/counters.def lib/dirlock.c lib/dirlock.h
lib_libcorscache_a_SOURCES += lib/metrics.c lib/metrics.h
lib_libcorscache_a_SOURCES += lib/explain.c lib/explain.h
lib_libcorscache_a_SOURCES += lib/health.c lib/health.h
lib_libcorscache_a_SOURCES += lib/sql.c lib/sql.h
lib_libcorscache_a_SOURCES += lib/wholefile.c lib/wholefile.h
lib_libcorscache_a_SOURCES += lib/frequent.c lib/frequent.h lib/refusals.c lib/refusals.h
lib_libcorscache_a_SOURCES += lib/human.c lib/human.h lib/utf8.c lib/utf8.h
