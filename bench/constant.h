/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * constant -- what the empty programs answer to everything: of the size of our
 * answer to a preflight, so that the decision is all that is left out.
 */
#ifndef CONSTANT_H
#define CONSTANT_H

#define CONSTANT_ANSWER \
	"Status: 200 OK\r\n" \
	"Access-Control-Allow-Origin: https://constant.example.com\r\n" \
	"Access-Control-Allow-Methods: GET, PUT, DELETE\r\n" \
	"Access-Control-Allow-Headers: authorization, content-type\r\n" \
	"Access-Control-Max-Age: 600\r\n" \
	"Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n" \
	"Content-Length: 0\r\n\r\n"
#define CONSTANT_BACKLOG	1024	/* responder.backlog of ours */

#endif
