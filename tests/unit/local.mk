# tests/unit
unit_cflags = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JANSSON_CFLAGS)
unit_libs = lib/libcorscache.a $(CHECK_LIBS)

check_PROGRAMS += tests/unit/check_siphash
TESTS += tests/unit/check_siphash
tests_unit_check_siphash_SOURCES = tests/unit/check_siphash.c tests/unit/run.h
tests_unit_check_siphash_CFLAGS = $(unit_cflags)
tests_unit_check_siphash_LDADD = $(unit_libs)
