/* SPDX-License-Identifier: BSD-2-Clause */
#include "frames.h"

#include <string.h>

#define FASTCGI_VERSION	1
#define BEGIN_BODY	8
#define KEEP_CONN	1

/* One length of a pair: a byte, or four with the first bit set. False: it is cut off. */
static bool
read_length(const uint8_t **at, const uint8_t *end, size_t *len)
{
	const uint8_t *p = *at;

	if (p == end)
		return false;
	if (p[0] < 0x80) {
		*len = p[0];
		*at = p + 1;
		return true;
	}
	if (end - p < 4)
		return false;
	*len = (size_t)(p[0] & 0x7f) << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
	*at = p + 4;
	return true;
}

bool
frames_parameters_are_sane(const uint8_t *at, size_t len)
{
	const uint8_t *end = at + len;
	size_t name, value;

	while (at < end) {
		if (!read_length(&at, end, &name) || !read_length(&at, end, &value))
			return false;
		if (name > (size_t)(end - at) || value > (size_t)(end - at) - name)
			return false;
		at += name + value;
	}
	return true;
}

void
frames_head(uint8_t head[FRAMES_HEAD], enum frames_type type, uint16_t id, size_t len)
{
	const uint8_t bytes[FRAMES_HEAD] = {
		FASTCGI_VERSION, (uint8_t)type, (uint8_t)(id >> 8), (uint8_t)id, (uint8_t)(len >> 8), (uint8_t)len
	};

	memcpy(head, bytes, sizeof bytes);
}

static bool
is_asked_for(const struct frames *f, const char *wanted)
{
	const uint8_t *at = f->small, *end = at + f->nsmall;
	size_t name, value;

	while (at < end && read_length(&at, end, &name) && read_length(&at, end, &value)) {
		if (name == strlen(wanted) && memcmp(at, wanted, name) == 0)
			return true;
		at += name + value;
	}
	return false;
}

/* As many requests at once as we say we can take: one a connection, and connections are no matter. */
static size_t
answer_values(const struct frames *f, uint8_t *out)
{
	static const struct {
		const char	*name;
		uint8_t		 value;
	} values[] = { { "FCGI_MAX_CONNS", '1' }, { "FCGI_MAX_REQS", '1' }, { "FCGI_MPXS_CONNS", '0' } };
	size_t i, at = FRAMES_HEAD, n;

	for (i = 0; i < sizeof values / sizeof values[0]; i++) {
		if (!is_asked_for(f, values[i].name))
			continue;
		n = strlen(values[i].name);
		out[at++] = (uint8_t)n;
		out[at++] = 1;
		memcpy(out + at, values[i].name, n);
		at += n;
		out[at++] = values[i].value;
	}
	frames_head(out, FRAMES_GET_VALUES_RESULT, 0, at - FRAMES_HEAD);
	return at;
}

size_t
frames_management(const struct frames *f, uint8_t out[FRAMES_MAX_RESULT])
{
	if (f->type == FRAMES_GET_VALUES)
		return answer_values(f, out);
	memset(out, 0, 2 * FRAMES_HEAD);
	frames_head(out, FRAMES_UNKNOWN_TYPE, 0, FRAMES_HEAD);
	out[FRAMES_HEAD] = f->type;
	return 2 * FRAMES_HEAD;
}

/* A record's head is here: FRAMES_MORE, or why the connection ends. */
static enum frames_event
begin_record(struct frames *f)
{
	const uint8_t *h = f->head;
	uint16_t id = (uint16_t)(h[2] << 8 | h[3]);
	bool is_management = id == 0, is_open = f->state != FRAMES_IDLE;

	if (h[0] != FASTCGI_VERSION)
		return FRAMES_BAD;
	f->type = h[1];
	f->content = (uint32_t)(h[4] << 8 | h[5]);
	f->padding = h[6];
	f->nsmall = 0;
	f->other_id = id;
	f->is_ours = is_management || (is_open && id == f->id) || f->type == FRAMES_BEGIN_REQUEST;
	if (f->type == FRAMES_BEGIN_REQUEST)
		return is_management || f->content != BEGIN_BODY || (is_open && id == f->id) ? FRAMES_BAD : FRAMES_MORE;
	if (is_management)
		return f->content > sizeof f->small ? FRAMES_TOO_MUCH : FRAMES_MORE;
	if (!is_open)		/* the rest of a body that nobody waited for */
		return f->type == FRAMES_STDIN || f->type == FRAMES_ABORT_REQUEST ? FRAMES_MORE : FRAMES_BAD;
	if (!f->is_ours)
		return FRAMES_MORE;
	switch (f->type) {
	case FRAMES_ABORT_REQUEST:
		return FRAMES_ABORTED;
	case FRAMES_PARAMS:
		if (f->nparameters + f->content > FRAMES_MAX_PARAMETERS)
			return FRAMES_TOO_MUCH;
		return f->state == FRAMES_IN_PARAMETERS ? FRAMES_MORE : FRAMES_BAD;
	case FRAMES_STDIN:
		return f->state == FRAMES_IN_BODY ? FRAMES_MORE : FRAMES_BAD;
	default:
		return FRAMES_BAD;
	}
}

/* Where the content of the record at hand goes; NULL: nowhere. */
static uint8_t *
content_place(struct frames *f)
{
	if (!f->is_ours)
		return NULL;
	if (f->type == FRAMES_PARAMS)
		return f->parameters + f->nparameters;
	return f->type == FRAMES_STDIN ? NULL : f->small + f->nsmall;
}

static enum frames_event
take_content(struct frames *f, const uint8_t *in, size_t n)
{
	uint8_t *place = content_place(f);

	f->content -= (uint32_t)n;
	if (place == NULL) {
		f->nskipped += n;
		return f->nskipped > FRAMES_MAX_SKIPPED ? FRAMES_TOO_MUCH : FRAMES_MORE;
	}
	memcpy(place, in, n);
	if (f->type == FRAMES_PARAMS)
		f->nparameters += n;
	else
		f->nsmall += (uint32_t)n;
	return FRAMES_MORE;
}

static enum frames_event
begin_request(struct frames *f)
{
	const uint8_t *body = f->small;

	if (f->state != FRAMES_IDLE)
		return FRAMES_MULTIPLEXED;
	if (body[0] != 0 || body[1] < FRAMES_RESPONDER || body[1] > FRAMES_FILTER)
		return FRAMES_BAD;
	f->state = FRAMES_IN_PARAMETERS;
	f->id = f->other_id;
	f->role = body[1];
	f->keep = body[2] & KEEP_CONN;
	f->nparameters = f->nskipped = 0;
	return FRAMES_MORE;
}

/* All of a record is here. */
static enum frames_event
end_record(struct frames *f)
{
	bool is_empty = f->head[4] == 0 && f->head[5] == 0;

	f->nhead = 0;
	if (f->type == FRAMES_BEGIN_REQUEST)
		return begin_request(f);
	if (f->other_id == 0)
		return f->type == FRAMES_GET_VALUES && !frames_parameters_are_sane(f->small, f->nsmall) ? FRAMES_BAD :
		    FRAMES_MANAGEMENT;
	if (!f->is_ours || !is_empty)
		return FRAMES_MORE;
	if (f->type == FRAMES_PARAMS) {
		f->state = FRAMES_ASKED;
		return frames_parameters_are_sane(f->parameters, f->nparameters) ? FRAMES_REQUEST : FRAMES_BAD;
	}
	f->state = FRAMES_IDLE;
	return FRAMES_END;
}

static size_t
smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* One piece of the record at hand. */
static enum frames_event
take_piece(struct frames *f, const uint8_t *in, size_t len, size_t *used)
{
	enum frames_event event = FRAMES_MORE;

	if (f->nhead < FRAMES_HEAD) {
		*used = smaller(len, FRAMES_HEAD - f->nhead);
		memcpy(f->head + f->nhead, in, *used);
		f->nhead += (unsigned)*used;
		if (f->nhead < FRAMES_HEAD)
			return FRAMES_MORE;
		f->nskipped += FRAMES_HEAD;	/* heads without content are bytes, too */
		event = f->nskipped > FRAMES_MAX_SKIPPED ? FRAMES_TOO_MUCH : begin_record(f);
	} else if (f->content > 0) {
		*used = smaller(len, f->content);
		event = take_content(f, in, *used);
	} else {
		*used = smaller(len, f->padding);
		f->padding -= (uint32_t)*used;
		f->nskipped += *used;
	}
	return event == FRAMES_MORE && f->content == 0 && f->padding == 0 ? end_record(f) : event;
}

enum frames_event
frames_take(struct frames *f, const uint8_t *in, size_t len, size_t *used)
{
	enum frames_event event = FRAMES_MORE;
	size_t n;

	*used = 0;
	if (f->state == FRAMES_ASKED) {
		/*
		 * A responder gets a body to its end. An authorizer must not wait for it:
		 * lighttpd announces one to it and sends neither body nor end.
		 */
		f->state = f->role == FRAMES_RESPONDER ? FRAMES_IN_BODY : FRAMES_IDLE;
		if (f->state == FRAMES_IDLE)
			return FRAMES_END;
	}
	while (event == FRAMES_MORE && *used < len) {
		event = take_piece(f, in + *used, len - *used, &n);
		*used += n;
	}
	return event;
}
