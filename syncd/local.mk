# corscache-syncd: only pg.c and feed.c know libpq
sbin_PROGRAMS += corscache-syncd
corscache_syncd_SOURCES = syncd/main.c syncd/control.c syncd/control.h \
	syncd/feed.c syncd/feed.h syncd/pg.c syncd/pg.h \
	syncd/sink.c syncd/sink.h syncd/wire.c syncd/wire.h syncd/keyset.c syncd/keyset.h
corscache_syncd_CFLAGS = $(AM_CFLAGS) $(PQ_CFLAGS)
corscache_syncd_LDADD = lib/libcorscache.a $(PQ_LIBS) $(CONFUSE_LIBS) $(PSL_LIBS)
