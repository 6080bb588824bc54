/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * config -- the settings of all three programs: defaults, then the file, then
 * -o section.name=value. Parsed into a fresh struct, so that a bad file
 * changes nothing. The only place that knows libconfuse.
 */
#ifndef CONFIG_H
#define CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/un.h>

#define CONFIG_DEFAULT_FILE	"/etc/corscache/corscache.conf"

struct config {
#define OPTION_FIELD_str	char *
#define OPTION_FIELD_path	char *
#define OPTION_FIELD_socket	char *
#define OPTION_FIELD_int	int
#define OPTION_FIELD_either	int
#define OPTION(section, name, type, def, min, max, reload, prose)	OPTION_FIELD_##type section##_##name;
#include "options.def"
#undef OPTION
};

/* Where a value comes from, for cachectl config. */
enum config_source { CONFIG_FROM_DEFAULT, CONFIG_FROM_FILE, CONFIG_FROM_FLAG };

enum option_type { OPTION_str, OPTION_path, OPTION_socket, OPTION_int, OPTION_either };

struct option_desc {
	const char	*section;
	const char	*name;
	enum option_type type;
	const char	*def;		/* as written in a file */
	int		 min, max;
	bool		 reload;
	const char	*prose;
	size_t		 offset;	/* in struct config */
};

/* Indices: OPTION_table_path, ... */
enum {
#define OPTION(section, name, type, def, min, max, reload, prose)	OPTION_##section##_##name,
#include "options.def"
#undef OPTION
	OPTION_COUNT
};
extern const struct option_desc	 option_descs[OPTION_COUNT];

/*
 * file NULL: CONFIG_DEFAULT_FILE, which may be absent. overrides: "section.name=value",
 * the last one wins. 0 and *c (config_free), or -1 and err: "file:line: setting: what is wrong".
 * Reads the environment: libconfuse expands ${VARIABLE}.
 */
int	 config_load(struct config **c, const char *file, const char *const *overrides, size_t noverrides,
	    char *err, size_t errlen);
void	 config_free(struct config **c);
enum config_source	 config_source(const struct config *c, size_t option);
/* The file that was read, NULL: it was absent; and the line that says an option, with CONFIG_FROM_FILE. */
const char		*config_file(const struct config *c);
int			 config_line(const struct config *c, size_t option);

/* Longest path of a socket, without NUL: one may be made as "path.new" beside it and then moved. */
#define CONFIG_SOCKET_MAX	(sizeof ((struct sockaddr_un *)0)->sun_path - sizeof ".new")

/* Where the value was set, to complain about it: "file:line: table.group", "-o table.group" or "table.group". */
const char		*config_where(const struct config *c, size_t option, char *buf, size_t cap);
/*
 * What the text alone does not tell, looked up without side effects. 0, or -1 and err, as of config_load():
 * a setting that names a group names one that exists; one that names a directory, one that can be read.
 */
int			 config_check_group(const struct config *c, size_t option, char *err, size_t errlen);
int			 config_check_directory(const struct config *c, size_t option, char *err, size_t errlen);

/* The file of table.revoked, or what stands for it where that is empty. Returns buf. */
const char		*config_revoked_path(const struct config *c, char *buf, size_t cap);

/* What is allowed: "10 to 3600000", "200 or 204", "an absolute path" ... */
const char		*config_allowed(size_t option, char *buf, size_t cap);
/* The value as text; buf for ints. */
const char		*config_text(const struct config *c, size_t option, char *buf, size_t cap);

#endif
