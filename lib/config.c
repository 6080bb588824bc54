/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libconfuse is the grammar and nothing more: every value reaches store()
 * as text, from the file, a flag or options.def alike, and is checked there.
 */
#include "config.h"

#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nearest.h"

#define FILE_MAX	(1024 * 1024)	/* bytes; a sane file has a few hundred */
#define NSECTIONS_MAX	8

/* Put behind the file's text, because libconfuse takes its end for a missing }. */
#define END_MARK	"end_of_file"

#define RELOAD_yes	true
#define RELOAD_no	false

const struct option_desc option_descs[OPTION_COUNT] = {
#define OPTION(section, name, type, def, min, max, reload, prose) \
	{ #section, #name, OPTION_##type, #def, min, max, RELOAD_##reload, prose, \
	  offsetof(struct config, section##_##name) },
#include "options.def"
#undef OPTION
};

#define DEFAULT_str(def)	def
#define DEFAULT_path(def)	def
#define DEFAULT_socket(def)	def
#define DEFAULT_int(def)	#def
#define DEFAULT_either(def)	#def

static const char *const defaults[OPTION_COUNT] = {
#define OPTION(section, name, type, def, min, max, reload, prose)	DEFAULT_##type(def),
#include "options.def"
#undef OPTION
};

/* What config_load() hands out is the first member of this. */
struct loaded {
	struct config		 config;
	enum config_source	 source[OPTION_COUNT];
	int			 line[OPTION_COUNT];	/* where that is CONFIG_FROM_FILE */
	char			*file;
};

/* The load now running: libconfuse's callbacks carry no argument. */
static _Thread_local struct {
	struct loaded	*into;
	const char	*file;
	char		*err;
	size_t		 errlen;
} load;

static bool
is_number(enum option_type type)
{
	return type == OPTION_int || type == OPTION_either;
}

static bool
is_word(const char *word, const char *s, size_t len)
{
	return strlen(word) == len && memcmp(word, s, len) == 0;
}

/* Of a setting in that section; OPTION_COUNT: none. name NULL: any. */
static size_t
find(const char *section, size_t section_len, const char *name, size_t name_len)
{
	size_t i;

	for (i = 0; i < OPTION_COUNT; i++)
		if (is_word(option_descs[i].section, section, section_len) &&
		    (name == NULL || is_word(option_descs[i].name, name, name_len)))
			break;
	return i;
}

const char *
config_allowed(size_t option, char *buf, size_t cap)
{
	const struct option_desc *d = &option_descs[option];

	switch (d->type) {
	case OPTION_str:
		return "any text";
	case OPTION_path:
		return "an absolute path";
	case OPTION_socket:
		snprintf(buf, cap, "an absolute path of at most %zu bytes", CONFIG_SOCKET_MAX);
		break;
	case OPTION_int:
		snprintf(buf, cap, "%d to %d", d->min, d->max);
		break;
	case OPTION_either:
		snprintf(buf, cap, "%d or %d", d->min, d->max);
		break;
	}
	return buf;
}

static bool
number_is_allowed(const struct option_desc *d, const char *text, int *number)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	if (end == text || *end != '\0' || errno != 0 || n < d->min || n > d->max)
		return false;
	if (d->type == OPTION_either && n != d->min && n != d->max)
		return false;
	*number = (int)n;
	return true;
}

/* A file has no working directory; a flag has its caller's. */
static bool
text_is_allowed(const struct option_desc *d, const char *text, enum config_source source)
{
	if (d->type == OPTION_str || (text[0] == '\0' && defaults[d - option_descs][0] == '\0'))
		return true;
	if (text[0] == '\0' || (source == CONFIG_FROM_FILE && text[0] != '/'))
		return false;
	return d->type == OPTION_path || strlen(text) <= CONFIG_SOCKET_MAX;
}

/* 0, -EINVAL: the value is not allowed, -ENOMEM. */
static int
store(struct loaded *l, size_t option, const char *text, enum config_source source)
{
	const struct option_desc *d = &option_descs[option];
	void *field = (char *)&l->config + d->offset;
	char *copy;

	if (is_number(d->type)) {
		if (!number_is_allowed(d, text, field))
			return -EINVAL;
	} else {
		if (!text_is_allowed(d, text, source))
			return -EINVAL;
		if ((copy = strdup(text)) == NULL)
			return -ENOMEM;
		free(*(char **)field);
		*(char **)field = copy;
	}
	l->source[option] = source;
	return 0;
}

/* The tail of every complaint about a value: "sync.poll_ms: ...". */
static void
explain(char *buf, size_t cap, size_t option, const char *text, int error)
{
	const struct option_desc *d = &option_descs[option];
	char allowed[64];

	if (error == -ENOMEM)
		snprintf(buf, cap, "%s.%s: out of memory", d->section, d->name);
	else
		snprintf(buf, cap, "%s.%s: \"%s\" is not allowed; %s is", d->section, d->name, text,
		    config_allowed(option, allowed, sizeof allowed));
}

/* "no such setting", the nearest, and the names that the section has; section NULL: the sections. */
static void
explain_unknown(char *buf, size_t cap, const char *section, size_t section_len, struct span name)
{
	char names[384];
	const char *before = "";
	struct nearest near;
	size_t i, len = 0;

	nearest_begin(&near, name);
	for (i = 0; i < OPTION_COUNT && len < sizeof names; i++) {
		const struct option_desc *d = &option_descs[i];
		const char *one = section != NULL ? d->name : d->section;

		if (section != NULL ? !is_word(d->section, section, section_len) :
		    i > 0 && strcmp(d->section, d[-1].section) == 0)
			continue;
		nearest_try(&near, one);
		len += (size_t)snprintf(names + len, sizeof names - len, "%s %s", before, one);
		before = ",";
	}
	snprintf(buf, cap, "no such %s%s%s%s is%s", section != NULL ? "setting" : "section",
	    near.best != NULL ? "; did you mean " : "", near.best != NULL ? near.best : "",
	    near.best != NULL ? "? There" : "; there", names);
}

static void
on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	bool in_section = strcmp(cfg->name, "root") != 0;
	char what[512];
	const char *name;

	if (load.err[0] != '\0')
		return;		/* the first one is the cause */
	if (strncmp(fmt, "no such option", strlen("no such option")) == 0) {
		name = va_arg(ap, const char *);
		if (strcmp(name, END_MARK) == 0) {
			snprintf(load.err, load.errlen, "%s:%d: %s: } is missing", load.file, cfg->line - 1,
			    cfg->name);
			return;
		}
		explain_unknown(what, sizeof what, in_section ? cfg->name : NULL, strlen(cfg->name), span_of(name));
		snprintf(load.err, load.errlen, "%s:%d: %s%s%s: %s", load.file, cfg->line,
		    in_section ? cfg->name : "", in_section ? "." : "", name, what);
		return;
	}
	vsnprintf(what, sizeof what, fmt, ap);
	snprintf(load.err, load.errlen, "%s:%d: %s%s%s", load.file, cfg->line,
	    in_section ? cfg->name : "", in_section ? ": " : "", what);
}

static int
on_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
	size_t option = find(cfg->name, strlen(cfg->name), opt->name, strlen(opt->name));
	char what[512];
	int error;

	*(const char **)result = value;
	if ((error = store(load.into, option, value, CONFIG_FROM_FILE)) == 0) {
		load.into->line[option] = cfg->line;
		return 0;
	}
	explain(what, sizeof what, option, value, error);
	snprintf(load.err, load.errlen, "%s:%d: %s", load.file, cfg->line, what);
	return -1;
}

/* The sections of options.def, each with its settings; cfg_init() copies it all. */
static cfg_t *
grammar(void)
{
	cfg_opt_t options[OPTION_COUNT + NSECTIONS_MAX], sections[NSECTIONS_MAX + 2];
	size_t i, noptions = 0, nsections = 0;

	for (i = 0; i < OPTION_COUNT; i++) {
		const char *section = option_descs[i].section;

		if (i == 0 || strcmp(section, option_descs[i - 1].section) != 0)
			sections[nsections++] = (cfg_opt_t)CFG_SEC(section, &options[noptions], CFGF_NONE);
		options[noptions++] = (cfg_opt_t)CFG_STR_CB(option_descs[i].name, NULL, CFGF_NODEFAULT, on_value);
		if (i + 1 == OPTION_COUNT || strcmp(section, option_descs[i + 1].section) != 0)
			options[noptions++] = (cfg_opt_t)CFG_END();
	}
	sections[nsections++] = (cfg_opt_t)CFG_STR(END_MARK, NULL, CFGF_NODEFAULT);
	sections[nsections] = (cfg_opt_t)CFG_END();
	return cfg_init(sections, CFGF_NONE);
}

/* Whole, because libconfuse's scanner exits the process when a read fails. */
static int
slurp(const char *file, char **text)
{
	FILE *f = fopen(file, "re");
	static const char end[] = "\n" END_MARK " = 1\n";
	size_t len;
	int error = 0;

	if (f == NULL)
		return -errno;
	if ((*text = malloc(FILE_MAX + sizeof end)) == NULL) {
		fclose(f);
		return -ENOMEM;
	}
	len = fread(*text, 1, FILE_MAX, f);
	if (ferror(f))
		error = -errno;
	else if (len == FILE_MAX)
		error = -EFBIG;
	else if (memchr(*text, '\0', len) != NULL)
		error = -EILSEQ;
	memcpy(*text + len, end, sizeof end);
	fclose(f);
	if (error != 0)
		free(*text);
	return error;
}

/* Behind a quoted string that begins at p. */
static char *
skip_quoted(char *p)
{
	char quote = *p++;

	while (*p != '\0' && *p != quote)
		p += *p == '\\' && p[1] != '\0' ? 2 : 1;
	return *p != '\0' ? p + 1 : p;
}

/* Behind a comment that begins at p; NULL: none does. A path may have // inside. */
static char *
skip_comment(const char *text, char *p)
{
	bool is_within = p > text && strchr(" \t\r\n={}(),+", p[-1]) == NULL;
	char *end;

	if (*p == '#' || (!is_within && strncmp(p, "//", 2) == 0))
		return p + strcspn(p, "\n");
	if (is_within || strncmp(p, "/*", 2) != 0)
		return NULL;
	end = strstr(p + 2, "*/");
	return end != NULL ? end + 2 : p + strlen(p);
}

static void
blank(char *p, const char *end)
{
	for (; p < end; p++)
		if (*p != '\n')
			*p = ' ';
}

/*
 * libconfuse counts the lines of comments wrong, and its messages name lines: it
 * gets blanks instead. Returns NULL, or where something begins that does not end,
 * of which libconfuse would name a line behind the file. A quote that was
 * forgotten is closed by the next string's first: so it is the first that spans lines.
 */
static const char *
blank_comments(char *text)
{
	char *p, *end, *spanning = NULL;

	for (p = text; *p != '\0'; p = end) {
		bool is_quote = *p == '"' || *p == '\'';

		end = is_quote ? skip_quoted(p) : skip_comment(text, p);
		if (is_quote && spanning == NULL && memchr(p, '\n', (size_t)(end - p)) != NULL)
			spanning = p;
		if (end == NULL)
			end = p + 1;
		else if (*end == '\0')		/* END_MARK is in it */
			return is_quote ? spanning : p;
		else if (!is_quote)
			blank(p, end);
	}
	return NULL;
}

static int
line_of(const char *text, const char *at)
{
	int line = 1;

	for (; text < at; text++)
		line += *text == '\n';
	return line;
}

static int
parse(struct loaded *l, const char *file, const char *text, char *err, size_t errlen)
{
	cfg_t *cfg = grammar();
	int result;

	if (cfg == NULL) {
		snprintf(err, errlen, "%s: out of memory", file);
		return -1;
	}
	load.into = l;
	load.file = file;
	load.err = err;
	load.errlen = errlen;
	cfg_set_error_function(cfg, on_error);
	result = cfg_parse_buf(cfg, text);
	cfg_free(cfg);
	if (result == CFG_SUCCESS && err[0] == '\0')
		return 0;
	if (err[0] == '\0')
		snprintf(err, errlen, "%s: cannot be parsed", file);
	return -1;
}

static int
read_file(struct loaded *l, const char *file, char *err, size_t errlen)
{
	const char *path = file != NULL ? file : CONFIG_DEFAULT_FILE, *unclosed;
	char *text = NULL;
	int error;

	error = slurp(path, &text);
	if (error == -ENOENT && file == NULL)
		return 0;
	if (error == 0 && (l->file = strdup(path)) == NULL) {
		free(text);
		error = -ENOMEM;
	}
	if (error != 0) {
		snprintf(err, errlen, "%s: %s", path, error == -EILSEQ ? "has NUL bytes" : strerror(-error));
		return -1;
	}
	if ((unclosed = blank_comments(text)) != NULL) {
		snprintf(err, errlen, "%s:%d: a %s is not closed", path, line_of(text, unclosed),
		    *unclosed == '/' ? "comment" : "quote");
		error = -1;
	} else {
		error = parse(l, path, text, err, errlen);
	}
	free(text);
	return error;
}

static int
override(struct loaded *l, const char *assignment, char *err, size_t errlen)
{
	size_t section_len = strcspn(assignment, ".=");
	const char *name = assignment + section_len + 1, *value = strchr(assignment, '=');
	size_t option;
	char what[512];
	int error;

	if (value == NULL || assignment[section_len] != '.') {
		snprintf(err, errlen, "-o %s: section.name=value is wanted", assignment);
		return -1;
	}
	option = find(assignment, section_len, name, (size_t)(value - name));
	if (option == OPTION_COUNT) {
		bool known = find(assignment, section_len, NULL, 0) != OPTION_COUNT;

		explain_unknown(what, sizeof what, known ? assignment : NULL, section_len,
		    known ? (struct span){ name, (size_t)(value - name) } : (struct span){ assignment, section_len });
		snprintf(err, errlen, "-o %.*s: %s", (int)(value - assignment), assignment, what);
		return -1;
	}
	if ((error = store(l, option, value + 1, CONFIG_FROM_FLAG)) == 0)
		return 0;
	explain(what, sizeof what, option, value + 1, error);
	snprintf(err, errlen, "-o %s", what);
	return -1;
}

int
config_load(struct config **c, const char *file, const char *const *overrides, size_t noverrides, char *err,
    size_t errlen)
{
	struct loaded *l = calloc(1, sizeof *l);
	struct config *fresh = &l->config;
	size_t i;

	err[0] = '\0';
	for (i = 0; l != NULL && i < OPTION_COUNT; i++)
		if (store(l, i, defaults[i], CONFIG_FROM_DEFAULT) != 0)
			config_free(&fresh);
	if (l == NULL || fresh == NULL) {
		snprintf(err, errlen, "out of memory");
		return -1;
	}
	if (read_file(l, file, err, errlen) != 0)
		goto refused;
	for (i = 0; i < noverrides; i++)
		if (override(l, overrides[i], err, errlen) != 0)
			goto refused;
	*c = fresh;
	return 0;
refused:
	config_free(&fresh);
	return -1;
}

void
config_free(struct config **c)
{
	size_t i;

	if (*c == NULL)
		return;
	for (i = 0; i < OPTION_COUNT; i++)
		if (!is_number(option_descs[i].type))
			free(*(char **)((char *)*c + option_descs[i].offset));
	free(((struct loaded *)*c)->file);
	free(*c);
	*c = NULL;
}

enum config_source
config_source(const struct config *c, size_t option)
{
	return ((const struct loaded *)c)->source[option];
}

const char *
config_file(const struct config *c)
{
	return ((const struct loaded *)c)->file;
}

int
config_line(const struct config *c, size_t option)
{
	return ((const struct loaded *)c)->line[option];
}

const char *
config_text(const struct config *c, size_t option, char *buf, size_t cap)
{
	const struct option_desc *d = &option_descs[option];
	const void *field = (const char *)c + d->offset;

	if (!is_number(d->type))
		return *(char *const *)field;
	snprintf(buf, cap, "%d", *(const int *)field);
	return buf;
}

const char *
config_where(const struct config *c, size_t option, char *buf, size_t cap)
{
	const struct loaded *l = (const struct loaded *)c;
	const struct option_desc *d = &option_descs[option];

	if (l->source[option] == CONFIG_FROM_FILE)
		snprintf(buf, cap, "%s:%d: %s.%s", l->file, l->line[option], d->section, d->name);
	else
		snprintf(buf, cap, "%s%s.%s", l->source[option] == CONFIG_FROM_FLAG ? "-o " : "", d->section, d->name);
	return buf;
}

int
config_check_group(const struct config *c, size_t option, char *err, size_t errlen)
{
	const char *group = config_text(c, option, NULL, 0);
	char where[512];

	if (group[0] == '\0' || getgrnam(group) != NULL)
		return 0;
	snprintf(err, errlen, "%s: there is no group \"%s\"", config_where(c, option, where, sizeof where), group);
	return -1;
}

int
config_check_directory(const struct config *c, size_t option, char *err, size_t errlen)
{
	const char *path = config_text(c, option, NULL, 0);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char where[512];

	if (fd >= 0) {
		close(fd);
		return 0;
	}
	snprintf(err, errlen, "%s: %s: %s", config_where(c, option, where, sizeof where), path, strerror(errno));
	return -1;
}

const char *
config_revoked_path(const struct config *c, char *buf, size_t cap)
{
	if (c->table_revoked[0] != '\0')
		snprintf(buf, cap, "%s", c->table_revoked);
	else if (strcmp(c->table_path, defaults[OPTION_table_path]) == 0)
		snprintf(buf, cap, "/var/lib/corscache/revoked");
	else
		snprintf(buf, cap, "%s/v1/revoked", c->table_path);
	return buf;
}
