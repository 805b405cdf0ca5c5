/* number.h - numbers as text, exactly. */
#ifndef FERRO_ENGINE_NUMBER_H
#define FERRO_ENGINE_NUMBER_H

#include <stdint.h>

#define NUMBER_TEXT_MAX 32

/* Decimal digits into `out`, not terminated; returns how many bytes. */
uint32_t number_put_i64(char out[NUMBER_TEXT_MAX], int64_t i);
/* The shortest text that fe_parse_f64 reads as the same number; "nan", "inf", "-inf". */
uint32_t number_put_f64(char out[NUMBER_TEXT_MAX], double f);

#endif
