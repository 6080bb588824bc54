/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * html -- bytes that strangers chose, as text of an element or as an attribute
 * in double quotes. They never end either, nor begin anything.
 */
#ifndef HTML_H
#define HTML_H

#include <stdio.h>

#include "origin.h"

/* To be read: what is not printable ASCII is \xHH and a backslash is \\, as cachectl prints it. */
void	 html_text(FILE *out, struct span text);

/*
 * To be sent back by a form: UTF-8 stays as it is. What no text field can hold
 * (controls, bytes that are no UTF-8) becomes U+FFFD.
 */
void	 html_value(FILE *out, struct span text);

/* A value of a query string, which query_read() decodes: all but letters, digits and - . _ ~ as %HH. */
void	 html_query(FILE *out, struct span text);

#endif
