# libcorscache.a: what the three programs share. The reading half (reader,
# answer, headers, decide, policy, origin, segment, group, siphash) needs libc only.
noinst_LIBRARIES += lib/libcorscache.a
lib_libcorscache_a_SOURCES =
lib_libcorscache_a_CFLAGS = $(AM_CFLAGS) $(CONFUSE_CFLAGS) $(PSL_CFLAGS)
lib_libcorscache_a_SOURCES += lib/siphash.c lib/siphash.h
