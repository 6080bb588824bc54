# cachectl: one command, one file; main.c has the table of them
bin_PROGRAMS += cachectl/cachectl
cachectl_cachectl_SOURCES = cachectl/cachectl.h cachectl/main.c cachectl/command.h cachectl/usage.c \
	cachectl/output.c cachectl/output.h cachectl/input.c cachectl/input.h cachectl/input_text.c \
	cachectl/rows.c cachectl/rows.h cachectl/db.c cachectl/db.h \
	cachectl/policies.c cachectl/policies.h cachectl/daemon.c cachectl/daemon.h \
	cachectl/cmd_check.c cachectl/cmd_completion.c cachectl/cmd_config.c cachectl/cmd_dump.c \
	cachectl/cmd_invalidate.c cachectl/cmd_revoke.c cachectl/revocation.c cachectl/revocation.h cachectl/cmd_list.c \
	cachectl/cmd_load.c cachectl/cmd_resync.c cachectl/cmd_show.c cachectl/cmd_stats.c \
	cachectl/cmd_status.c cachectl/cmd_verify.c
cachectl_cachectl_SOURCES += cachectl/cmd_metrics.c cachectl/cmd_refusals.c cachectl/cmd_top.c \
	cachectl/screen.c cachectl/screen.h cachectl/watch.c cachectl/watch.h
cachectl_cachectl_SOURCES += cachectl/cmd_lint.c cachectl/lint.def cachectl/finding.c cachectl/finding.h \
	cachectl/wide.c cachectl/wide.h
cachectl_cachectl_SOURCES += cachectl/paste.c cachectl/paste.h cachectl/response.c cachectl/response.h
cachectl_cachectl_SOURCES += cachectl/check_url.c cachectl/check_url.h cachectl/exchange.c cachectl/exchange.h
cachectl_cachectl_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(CURL_CFLAGS) $(PQ_CFLAGS)
cachectl_cachectl_LDADD = lib/libcorscache.a $(CONFUSE_LIBS) $(JANSSON_LIBS) $(CURL_LIBS) $(PQ_LIBS) $(PSL_LIBS)

# What completes its words, from the same table.
if !CROSS_COMPILING
bashcompletiondir = $(datadir)/bash-completion/completions
bashcompletion_DATA = completion/cachectl
zshcompletiondir = $(datadir)/zsh/site-functions
zshcompletion_DATA = completion/_cachectl
fishcompletiondir = $(datadir)/fish/vendor_completions.d
fishcompletion_DATA = completion/cachectl.fish
CLEANFILES += completion/cachectl completion/_cachectl completion/cachectl.fish
completion/cachectl completion/_cachectl completion/cachectl.fish: cachectl/cachectl$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) completion && case $@ in *.fish) shell=fish ;; */_*) shell=zsh ;; *) shell=bash ;; esac && \
	cachectl/cachectl$(EXEEXT) completion $$shell >$@.new && mv $@.new $@
endif
