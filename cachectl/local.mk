# cachectl: one command, one file; main.c has the table of them
bin_PROGRAMS += cachectl/cachectl
cachectl_cachectl_SOURCES = cachectl/cachectl.h cachectl/main.c \
	cachectl/output.c cachectl/output.h cachectl/input.c cachectl/input.h \
	cachectl/rows.c cachectl/rows.h cachectl/daemon.c cachectl/daemon.h \
	cachectl/cmd_check.c cachectl/cmd_config.c cachectl/cmd_invalidate.c cachectl/cmd_list.c \
	cachectl/cmd_load.c cachectl/cmd_resync.c cachectl/cmd_show.c cachectl/cmd_stats.c \
	cachectl/cmd_status.c cachectl/cmd_verify.c
cachectl_cachectl_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(PQ_CFLAGS)
cachectl_cachectl_LDADD = lib/libcorscache.a $(CONFUSE_LIBS) $(JANSSON_LIBS) $(PQ_LIBS) $(PSL_LIBS)
