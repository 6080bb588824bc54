/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * page_parts -- what the files of the page for people share. Strangers' bytes
 * go through html_text() or html_value(), always: those of the request, and
 * those of the table too. What fprintf() writes is ours, or a number.
 */
#ifndef PAGE_PARTS_H
#define PAGE_PARTS_H

#include <stdio.h>

#include "explain.h"
#include "health.h"
#include "html.h"
#include "human.h"
#include "query.h"
#include "reply.h"

struct page {
	FILE			*out;
	const struct replier	*rp;
	struct health		 health;
	enum query_status	 query;
	struct span		 origin, realm, method, headers;	/* of the form, in buf */
	char			 buf[QUERY_MAX];
	struct explanation	 explanation;
};

void	 page_put_count(const struct page *p, const char *before, uint64_t n, const char *after);
void	 page_put_code(const struct page *p, struct span text);

/* page_charts: what responders have counted */
#define COUNT(p, name)	page_cell((p), offsetof(struct counters, name))
uint64_t page_cell(const struct page *p, size_t offset);
void	 page_write_request_tile(const struct page *p);
void	 page_write_duration_tile(const struct page *p);
void	 page_write_requests(const struct page *p);
void	 page_write_durations(const struct page *p);
void	 page_write_refusals(const struct page *p);

/* page_refused: origins that were refused most, each a question to the form */
void	 page_write_refused(const struct page *p);

/* page_explain: a form, and its answer where it was sent. 0, or -1: out of memory. */
void	 page_read_form(struct page *p, const struct facts *f);
int	 page_write_explain(struct page *p);

#endif
