/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon.h"
#include "output.h"

int
cmd_resync(const struct call *call)
{
	struct object *o;
	char text[CONTROL_MAX_LINE];
	int status = daemon_ask(call, "resync", NULL, text);

	if (status == EXIT_ABSENT)
		complain("corscache-syncd does not listen on %s", call->config->sync_control_socket);
	if (status != EXIT_YES)
		return status;
	if (call->json) {
		o = object_new();
		object_text(o, "asked", "resync");
		object_print(o);
	} else {
		remark("corscache-syncd says: %s", text);
	}
	return EXIT_YES;
}
