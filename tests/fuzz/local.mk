# tests/fuzz: every parser of strangers' bytes. `make check` replays the
# corpora; `make fuzz` (clang) looks for more, FUZZ_SECONDS for each fuzzer.
EXTRA_DIST += tests/fuzz/corpus

fuzz_sources = tests/fuzz/replay.c tests/fuzz/fuzz.h
fuzz_corpus = -DCORPUS='"$(abs_top_srcdir)/tests/fuzz/corpus

check_PROGRAMS += tests/fuzz/replay_origin tests/fuzz/replay_rule tests/fuzz/replay_acrh tests/fuzz/replay_policy
TESTS += tests/fuzz/replay_origin tests/fuzz/replay_rule tests/fuzz/replay_acrh tests/fuzz/replay_policy
tests_fuzz_replay_origin_SOURCES = $(fuzz_sources) tests/fuzz/fuzz_origin.c
tests_fuzz_replay_origin_CPPFLAGS = $(AM_CPPFLAGS) $(fuzz_corpus)/origin"'
tests_fuzz_replay_origin_LDADD = lib/libcorscache.a
tests_fuzz_replay_rule_SOURCES = $(fuzz_sources) tests/fuzz/fuzz_rule.c
tests_fuzz_replay_rule_CPPFLAGS = $(AM_CPPFLAGS) $(fuzz_corpus)/rule"'
tests_fuzz_replay_rule_LDADD = lib/libcorscache.a
tests_fuzz_replay_acrh_SOURCES = $(fuzz_sources) tests/fuzz/fuzz_acrh.c tests/fuzz/response.h
tests_fuzz_replay_acrh_CPPFLAGS = $(AM_CPPFLAGS) $(fuzz_corpus)/acrh"'
tests_fuzz_replay_acrh_LDADD = lib/libcorscache.a
tests_fuzz_replay_policy_SOURCES = $(fuzz_sources) tests/fuzz/fuzz_policy.c tests/fuzz/response.h
tests_fuzz_replay_policy_CPPFLAGS = $(AM_CPPFLAGS) $(fuzz_corpus)/policy"'
tests_fuzz_replay_policy_LDADD = lib/libcorscache.a

check_PROGRAMS += tests/fuzz/replay_query
TESTS += tests/fuzz/replay_query
tests_fuzz_replay_query_SOURCES = $(fuzz_sources) tests/fuzz/fuzz_query.c responder/query.c responder/query.h \
	responder/html.c responder/html.h
tests_fuzz_replay_query_CPPFLAGS = $(AM_CPPFLAGS) $(fuzz_corpus)/query"'
tests_fuzz_replay_query_LDADD = lib/libcorscache.a

check_PROGRAMS += tests/fuzz/replay_frames
TESTS += tests/fuzz/replay_frames
tests_fuzz_replay_frames_SOURCES = $(fuzz_sources) tests/fuzz/fuzz_frames.c responder/frames.c responder/frames.h
tests_fuzz_replay_frames_CPPFLAGS = $(AM_CPPFLAGS) $(fuzz_corpus)/frames"'

FUZZ_CC = clang
FUZZ_SECONDS = 20
FUZZ_CFLAGS = -std=gnu17 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined
FUZZERS = origin rule acrh policy query frames
fuzz_parts = lib/origin lib/policy lib/decide lib/headers lib/utf8 responder/query responder/html responder/frames

# New seeds and crashes stay in the build tree.
.PHONY: fuzz
fuzz:
	@$(FUZZ_CC) --version >/dev/null || { echo "make fuzz needs clang (FUZZ_CC=$(FUZZ_CC))" >&2; exit 1; }
	@$(MKDIR_P) tests/fuzz
	@set -e; parts=; for p in $(fuzz_parts); do parts="$$parts $(top_srcdir)/$$p.c"; done; \
	for f in $(FUZZERS); do \
		$(MKDIR_P) tests/fuzz/found/$$f; \
		$(FUZZ_CC) $(FUZZ_CFLAGS) -I$(top_srcdir)/lib -o tests/fuzz/fuzz_$$f \
		    $(top_srcdir)/tests/fuzz/fuzz_$$f.c $$parts; \
		echo "fuzz_$$f: $(FUZZ_SECONDS) s"; \
		tests/fuzz/fuzz_$$f -max_len=8192 -timeout=5 -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 \
		    -artifact_prefix=tests/fuzz/found/ tests/fuzz/found/$$f $(top_srcdir)/tests/fuzz/corpus/$$f \
		    >tests/fuzz/fuzz_$$f.log 2>&1 || { tail -40 tests/fuzz/fuzz_$$f.log; exit 1; }; \
		grep -E 'number_of_executed|slowest' tests/fuzz/fuzz_$$f.log; \
	done
