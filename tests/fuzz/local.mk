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

check_PROGRAMS += tests/fuzz/replay_wire
TESTS += tests/fuzz/replay_wire
tests_fuzz_replay_wire_SOURCES = $(fuzz_sources) tests/fuzz/fuzz_wire.c syncd/wire.c syncd/wire.h
tests_fuzz_replay_wire_CPPFLAGS = $(AM_CPPFLAGS) $(fuzz_corpus)/wire"'
tests_fuzz_replay_wire_LDADD = lib/libcorscache.a

FUZZ_CC = clang
FUZZ_SECONDS = 20
FUZZ_CFLAGS = -std=gnu17 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined
fuzz_parts = lib/origin lib/policy lib/decide lib/headers lib/utf8 responder/query responder/html responder/frames \
	syncd/wire
fuzzers = fuzz-origin fuzz-rule fuzz-acrh fuzz-policy fuzz-query fuzz-frames fuzz-wire

# New seeds and crashes stay in the build tree. An input that takes a minute hangs: fewer seconds are a busy machine.
.PHONY: fuzz $(fuzzers)
fuzz: $(fuzzers)
$(fuzzers):
	@$(FUZZ_CC) --version >/dev/null || { echo "make fuzz needs clang (FUZZ_CC=$(FUZZ_CC))" >&2; exit 1; }
	@set -e; f='$@'; f=$${f#fuzz-}; program=tests/fuzz/fuzz_$$f; parts=; \
	for p in $(fuzz_parts); do parts="$$parts $(top_srcdir)/$$p.c"; done; \
	$(MKDIR_P) tests/fuzz/found/$$f; \
	$(FUZZ_CC) $(FUZZ_CFLAGS) $(AM_CPPFLAGS) -o $$program $(top_srcdir)/tests/fuzz/fuzz_$$f.c $$parts; \
	$$program -max_len=8192 -timeout=60 -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 \
	    -artifact_prefix=tests/fuzz/found/ tests/fuzz/found/$$f $(top_srcdir)/tests/fuzz/corpus/$$f \
	    >$$program.log 2>&1 || { echo "fuzz_$$f failed: $$program.log" >&2; tail -n 40 $$program.log >&2; exit 1; }; \
	echo "fuzz_$$f: `sed -n 's/^stat::number_of_executed_units: *//p' $$program.log` inputs, $(FUZZ_SECONDS) s"
