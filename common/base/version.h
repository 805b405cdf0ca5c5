/* version.h - the one place that names the version; the Makefile reads it too. */
#ifndef FERRO_BASE_VERSION_H
#define FERRO_BASE_VERSION_H

#define FERRO_VERSION "0.1.0"

#endif
