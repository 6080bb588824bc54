# corscache-syncd: only pg.c and the parts of the feed know libpq
sbin_PROGRAMS += corscache-syncd
corscache_syncd_SOURCES = syncd/main.c syncd/control.c syncd/control.h \
	syncd/feed.c syncd/feed.h syncd/feed_parts.h \
	syncd/feed_session.c syncd/feed_delta.c syncd/feed_load.c syncd/pg.c syncd/pg.h \
	syncd/sink.c syncd/sink.h syncd/wire.c syncd/wire.h syncd/keyset.c syncd/keyset.h
corscache_syncd_CFLAGS = $(AM_CFLAGS) $(PQ_CFLAGS)
corscache_syncd_LDADD = lib/libcorscache.a $(PQ_LIBS) $(CONFUSE_LIBS) $(PSL_LIBS)
