# doc
dist_doc_DATA = README.md NEWS.md LICENSE doc/architecture.md doc/operations.md doc/security.md doc/status-page.png
dist_man_MANS += doc/man/cachectl.1 doc/man/corscache.conf.5 \
	doc/man/corscache-responder.8 doc/man/corscache-syncd.8

# The parts that come from tables of the programs; docs_test.py says when they are stale.
EXTRA_DIST += doc/generate doc/plots/lookup-origins.svg doc/plots/web-actual.svg
.PHONY: update-docs
update-docs: cachectl/cachectl
	$(srcdir)/doc/generate cachectl/cachectl
