/* log.h - one line an event: time, level, service, words, ids as key=value.
 *
 * Lines go to stderr.  With an event stream (`--events FD`) each event_emit()
 * also writes one JSON object a line to that descriptor; tests wait on those.
 */
#ifndef FERRO_BASE_LOG_H
#define FERRO_BASE_LOG_H

#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_init(const char *service, enum log_level most, int events_fd); /* events_fd -1: none */
int log_level_parse(const char *text, enum log_level *out);             /* 0, or -1 */
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* One JSON line on the event stream: {"event":name,"service":...,"ms":monotonic, key:value...}.
 * Arguments after `name` come in triples, ended by NULL: key, 'u' and uint64_t | 'i' and int64_t | 's' and const char *.
 * Example: event_emit("task.failed", "app", 'u', app, "words", 's', words, NULL).
 * Nothing happens without a stream.  Thread-safe.  A reader that is gone harms nobody; one that doesn't read
 * loses events, and the next line it gets says how many ("dropped"). */
void event_emit(const char *name, ...);

#endif
