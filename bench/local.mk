# bench: built by `make bench`, `make bench-quick` and `make check`, never by a plain `make`.
bench_programs = bench/lookup bench/storm bench/sync \
	bench/fcgi_load bench/bare bench/empty_classic bench/empty_epoll bench/find_epoll \
	bench/allocations.so
check_PROGRAMS += $(bench_programs)
TESTS += bench/smoke
EXTRA_DIST += bench/RESULTS.md bench/bench.py bench/plot.py bench/postgres.py bench/report.py bench/smoke \
	bench/parts/growth.py bench/parts/lookup.py bench/parts/responder.py bench/parts/sync.py \
	bench/parts/web.py bench/parts/writes.py \
	bench/web/wrk.lua bench/web/starlette_app.py bench/web/node_app.js bench/web/rs_cors.go \
	bench/web/package.json bench/web/package-lock.json

.PHONY: bench bench-quick bench-record
bench: all $(bench_programs)
	$(srcdir)/bench/bench.py --build . $(PARTS)
bench-quick: all $(bench_programs)
	$(srcdir)/bench/bench.py --build . --quick $(PARTS)
bench-record:
	$(srcdir)/bench/bench.py --build . --record
clean-local:
	rm -rf bench/out bench/peers

bench_workload = bench/workload.c bench/workload.h bench/ours.c bench/ours.h

bench_lookup_SOURCES = $(bench_workload) bench/subject.h bench/lookup.c bench/subject_ours.c \
	bench/subject_limit.c bench/subject_list.c bench/subject_postgres.c
bench_lookup_CPPFLAGS = $(AM_CPPFLAGS)
bench_lookup_CFLAGS = $(AM_CFLAGS) $(PQ_CFLAGS)
bench_lookup_LDADD = lib/libcorscache.a $(PQ_LIBS) -lm
if HAVE_LMDB
bench_lookup_SOURCES += bench/subject_lmdb.c
bench_lookup_CPPFLAGS += -DHAVE_LMDB=1
bench_lookup_CFLAGS += $(LMDB_CFLAGS)
bench_lookup_LDADD += $(LMDB_LIBS)
endif
if HAVE_GLIB
bench_lookup_SOURCES += bench/subject_glib.c
bench_lookup_CPPFLAGS += -DHAVE_GLIB=1
bench_lookup_CFLAGS += $(GLIB_CFLAGS)
bench_lookup_LDADD += $(GLIB_LIBS)
endif

bench_storm_SOURCES = $(bench_workload) bench/storm.c
bench_storm_LDADD = lib/libcorscache.a -lm

bench_fcgi_load_SOURCES = $(bench_workload) bench/constant.h bench/fcgi_load.c
bench_fcgi_load_LDADD = lib/libcorscache.a -lm
bench_bare_SOURCES = bench/constant.h bench/bare.c
bench_empty_classic_SOURCES = bench/constant.h bench/empty_classic.c
bench_empty_classic_CFLAGS = $(AM_CFLAGS) $(FCGI_CFLAGS)
bench_empty_classic_LDADD = $(FCGI_LIBS)
bench_empty_epoll_SOURCES = bench/constant.h bench/empty_epoll.c responder/serve.c responder/serve.h \
	responder/feed.c responder/feed.h responder/frames.c responder/frames.h
bench_empty_epoll_CFLAGS = $(AM_CFLAGS) $(FCGI_CFLAGS)
bench_empty_epoll_LDADD = lib/libcorscache.a $(FCGI_LIBS)
bench_find_epoll_SOURCES = $(bench_empty_epoll_SOURCES) responder/request.c responder/request.h
bench_find_epoll_CPPFLAGS = $(AM_CPPFLAGS) -DFIND
bench_find_epoll_CFLAGS = $(bench_empty_epoll_CFLAGS)
bench_find_epoll_LDADD = $(bench_empty_epoll_LDADD)
# Preloaded; not sanitized: it goes below a sanitizer's own malloc.
bench_allocations_so_SOURCES = bench/allocations.c
bench_allocations_so_CFLAGS = $(WARN_CFLAGS) -fPIC
bench_allocations_so_LDFLAGS = -shared

bench_sync_SOURCES = $(bench_workload) bench/sync.c
bench_sync_CFLAGS = $(AM_CFLAGS) $(PQ_CFLAGS)
bench_sync_LDADD = lib/libcorscache.a $(PQ_LIBS) -lm
