# responder: FastCGI questions of web servers, answered from the shared table
sbin_PROGRAMS += corscache-responder
corscache_responder_SOURCES = responder/main.c \
	responder/listener.c responder/listener.h \
	responder/serve.c responder/serve.h \
	responder/feed.c responder/feed.h responder/frames.c responder/frames.h \
	responder/request.c responder/request.h \
	responder/reply.c responder/reply.h \
	responder/pages.c responder/pages.h \
	responder/page_html.c responder/page_html.h responder/page_parts.h responder/page_style.h \
	responder/page_charts.c responder/page_explain.c responder/page_refused.c \
	responder/query.c responder/query.h responder/html.c responder/html.h
corscache_responder_CFLAGS = $(AM_CFLAGS) $(FCGI_CFLAGS) $(JANSSON_CFLAGS)
corscache_responder_LDADD = lib/libcorscache.a $(FCGI_LIBS) $(JANSSON_LIBS) $(CONFUSE_LIBS)
