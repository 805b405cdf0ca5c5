/* query.h - how answers look, shared by the verbs that show them. */
#ifndef FERRO_CLI_QUERY_H
#define FERRO_CLI_QUERY_H

#include "common/proto/proto.h"

#include <jansson.h>

char *human_bytes(uint64_t n, char out[16]); /* "3.8 GiB" */
json_t *app_json(const struct rec_app_row *r);
void app_heading(void);
void app_line(const struct rec_app_row *r);
void json_out(json_t *j); /* on stdout; drops the reference */

#endif
