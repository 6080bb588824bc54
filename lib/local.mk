# libcorscache.a: what the three programs share. The reading half (reader,
# answer, headers, decide, policy, origin, segment, group, siphash) needs libc only.
noinst_LIBRARIES += lib/libcorscache.a
lib_libcorscache_a_SOURCES =
lib_libcorscache_a_CFLAGS = $(AM_CFLAGS) $(CONFUSE_CFLAGS) $(PSL_CFLAGS)
lib_libcorscache_a_SOURCES += lib/siphash.c lib/siphash.h
lib_libcorscache_a_SOURCES += lib/config.c lib/config.h lib/options.def
lib_libcorscache_a_SOURCES += lib/log.c lib/log.h lib/sdnotify.c lib/sdnotify.h
