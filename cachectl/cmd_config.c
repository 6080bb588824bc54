/* SPDX-License-Identifier: BSD-2-Clause */
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "db.h"
#include "nearest.h"
#include "rows.h"

#define WIDTH	100	/* columns of the sample's comments */

/* A comment, broken between words. */
static void
print_prose(const char *prose)
{
	size_t column = 0;

	while (*prose != '\0') {
		size_t len = strcspn(prose, " ");

		if (column > 0 && column + 1 + len > WIDTH) {
			putchar('\n');
			column = 0;
		}
		column += (size_t)printf("%s%.*s", column == 0 ? "\t# " : " ", (int)len, prose);
		prose += len + strspn(prose + len, " ");
	}
	putchar('\n');
}

static void
print_option(size_t i)
{
	const struct option_desc *d = &option_descs[i];
	char allowed[64];

	print_prose(d->prose);
	printf("\t# Allowed: %s. A change needs a %s.\n", config_allowed(i, allowed, sizeof allowed),
	    d->reload ? "reload" : "restart");
	printf("\t#%s = %s\n", d->name, d->def);
}

static void
print_sample(void)
{
	size_t i;

	printf("# corscache.conf -- the settings of corscache-responder, corscache-syncd and cachectl.\n"
	    "# See corscache.conf(5). What is commented out is the default.\n"
	    "# ${VARIABLE} is taken from the environment.\n");
	for (i = 0; i < OPTION_COUNT; i++) {
		if (i == 0 || strcmp(option_descs[i].section, option_descs[i - 1].section) != 0)
			printf("%s\n%s {\n", i > 0 ? "}\n" : "", option_descs[i].section);
		else
			putchar('\n');
		print_option(i);
	}
	printf("}\n");
}

/* ---- the settings in force ---- */

#define NAME_MAX_LEN	64

struct setting {
	char		 name[NAME_MAX_LEN];
	const char	*value;
	char		*shown;		/* in place of the value: a connection string without its passwords */
	char		 number[16];
	char		 def[128];
};

static bool
setting_read(struct setting *s, const struct config *c, size_t i)
{
	const struct option_desc *d = &option_descs[i];
	size_t len = strlen(d->def);

	*s = (struct setting){ .value = NULL };
	snprintf(s->name, sizeof s->name, "%s.%s", d->section, d->name);
	s->value = config_text(c, i, s->number, sizeof s->number);
	if (d->offset == offsetof(struct config, sync_conninfo)) {
		s->value = s->shown = db_conninfo_shown(s->value);
		if (s->shown == NULL)
			complain("out of memory");
	}
	if (d->def[0] == '"')
		snprintf(s->def, sizeof s->def, "%.*s", (int)len - 2, d->def + 1);
	else
		snprintf(s->def, sizeof s->def, "%s", d->def);
	return s->value != NULL;
}

static const char *
source_text(const struct config *c, size_t i, char *buf, size_t cap)
{
	switch (config_source(c, i)) {
	case CONFIG_FROM_FILE:
		snprintf(buf, cap, "%s:%d", config_file(c), config_line(c, i));
		return buf;
	case CONFIG_FROM_FLAG:
		return "command line";
	default:
		return "default";
	}
}

/* Of the column of sources. */
static int
widest_source(const struct config *c)
{
	char buf[256];
	size_t i, len, most = 0;

	for (i = 0; i < OPTION_COUNT; i++)
		if ((len = strlen(source_text(c, i, buf, sizeof buf))) > most)
			most = len;
	return (int)most;
}

static void
print_setting(const struct config *c, size_t i, const struct setting *s)
{
	char buf[256];

	print_cell(COLOUR_NONE, span_of(s->name), 26);
	print_cell(COLOUR_DIM, span_of(option_descs[i].reload ? "reload" : "restart"), 7);
	print_cell(COLOUR_DIM, span_of(source_text(c, i, buf, sizeof buf)), widest_source(c));
	if (output_is_plain())
		print_cell(COLOUR_NONE, span_of(s->def), 0);
	print_bytes(span_of(s->value));
	if (!output_is_plain() && strcmp(s->value, s->def) != 0)
		paint(COLOUR_DIM, "%s(default: %s)", s->value[0] != '\0' ? "  " : "", s->def[0] != '\0' ? s->def : "empty");
	else if (!output_is_plain() && s->value[0] == '\0')
		paint(COLOUR_DIM, "(empty)");
	putchar('\n');
}

static void
fill_value(struct object *o, const char *name, const struct option_desc *d, const char *text)
{
	if (d->type == OPTION_int || d->type == OPTION_either)
		object_number(o, name, strtol(text, NULL, 10));
	else
		object_text(o, name, text);
}

static void
fill_setting(struct object *o, const struct config *c, size_t i, const struct setting *s)
{
	static const char *const sources[] = { [CONFIG_FROM_DEFAULT] = "default", [CONFIG_FROM_FILE] = "file",
		[CONFIG_FROM_FLAG] = "command line" };
	const struct option_desc *d = &option_descs[i];
	enum config_source source = config_source(c, i);

	object_text(o, "name", s->name);
	fill_value(o, "value", d, s->value);
	fill_value(o, "default", d, s->def);
	object_text(o, "source", sources[source]);
	if (source == CONFIG_FROM_FILE)
		object_number(o, "line", config_line(c, i));
	else
		object_null(o, "line");
	object_text(o, "change_needs", d->reload ? "reload" : "restart");
}

/* The daemons go on with what they read; only a start after the last change is sure to have read it. */
static void
tell_of_daemon(const struct call *call)
{
	const char *file = config_file(call->config);
	struct table_info info;
	struct status status;
	struct reader *r;
	struct stat st;

	if (file == NULL || stat(file, &st) != 0 || !rows_try(call, &r))
		return;
	reader_info(r, &info);
	reader_status(r, &status);
	reader_close(&r);
	if (info.writer_alive && status.started_at > 0 && (int64_t)st.st_mtim.tv_sec * 1000 > status.started_at)
		remark("%s was changed after corscache-syncd had started: it may still use older values", file);
}

static int
show_settings(const struct call *call, const char *glob)
{
	const char *file = config_file(call->config);
	struct object *o = call->json ? object_new() : NULL;
	char best[NAME_MAX_LEN] = "";
	struct nearest near;
	struct setting s;
	size_t i, shown = 0;

	nearest_begin(&near, span_of(glob != NULL ? glob : ""));
	if (o != NULL && file != NULL)
		object_text(o, "file", file);
	else if (o != NULL)
		object_null(o, "file");
	if (o != NULL)
		object_array(o, "settings");
	for (i = 0; i < OPTION_COUNT; i++) {
		if (!setting_read(&s, call->config, i))
			return EXIT_FAILED;
		near.best = NULL;
		nearest_try(&near, s.name);
		if (near.best != NULL)
			snprintf(best, sizeof best, "%s", s.name);
		if (glob == NULL || fnmatch(glob, s.name, 0) == 0 || strcmp(glob, option_descs[i].section) == 0) {
			shown++;
			if (o != NULL)
				fill_setting(object_append_object(o, "settings"), call->config, i, &s);
			else
				print_setting(call->config, i, &s);
		}
		free(s.shown);
	}
	if (o != NULL)
		object_print(o);
	else if (shown > 0)
		tell_of_daemon(call);
	if (shown > 0)
		return EXIT_YES;
	if (best[0] != '\0')
		remark("no such setting; did you mean %s?", best);
	else
		remark("no such setting; cachectl config lists them");
	return EXIT_NO;
}

int
cmd_config(const struct call *call)
{
	if (!flag_is_given(call, "sample"))
		return show_settings(call, call->noperands > 0 ? call->operands[0] : NULL);
	if (call->noperands > 0) {
		complain("--sample has all settings: it takes no operand");
		return EXIT_MISUSED;
	}
	if (call->json) {
		complain("--sample is a file, not JSON; cachectl config --json has the settings");
		return EXIT_MISUSED;
	}
	print_sample();
	return EXIT_YES;
}
