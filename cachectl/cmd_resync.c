/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>

#include "daemon.h"
#include "output.h"

int
cmd_resync(const struct call *call)
{
	struct object *o;
	char text[CONTROL_MAX_LINE];
	int status = daemon_ask(call, "resync", NULL, text);

	if (status == EXIT_ABSENT)
		complain("corscache-syncd does not listen on %s: start it, which loads the whole table as well",
		    call->config->sync_control_socket);
	if (status != EXIT_YES)
		return status;
	if (call->json) {
		o = object_new();
		object_text(o, "asked", "resync");
		object_print(o);
	} else {
		printf("corscache-syncd says: %s\n", text);
	}
	return EXIT_YES;
}
