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

#define CONFIG_DEFAULT_FILE	"/etc/corscache/corscache.conf"

struct config {
#define OPTION_FIELD_str	char *
#define OPTION_FIELD_int	int
#define OPTION(section, name, type, def, min, max, reload, prose)	OPTION_FIELD_##type section##_##name;
#include "options.def"
#undef OPTION
};

/* Where a value comes from, for cachectl config. */
enum config_source { CONFIG_FROM_DEFAULT, CONFIG_FROM_FILE, CONFIG_FROM_FLAG };

struct option_desc {
	const char	*section;
	const char	*name;
	const char	*type;		/* "str" or "int" */
	const char	*def;		/* as written in a file */
	int		 min, max;
	bool		 reload;
	const char	*prose;
	size_t		 offset;	/* in struct config */
};
extern const struct option_desc	 option_descs[];
extern const size_t		 option_ndescs;

/*
 * file NULL: CONFIG_DEFAULT_FILE, which may be absent. overrides: "section.name=value",
 * the last one wins. 0 and *c (config_free), or -1 and err: "file:line: setting: what is wrong".
 */
int	 config_load(struct config **c, const char *file, const char *const *overrides, size_t noverrides,
	    char *err, size_t errlen);
void	 config_free(struct config **c);
enum config_source	 config_source(const struct config *c, size_t option);
/* The value as text; buf for ints. */
const char		*config_text(const struct config *c, size_t option, char *buf, size_t cap);

#endif
