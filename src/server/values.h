/* Values as people write them, and back: sizes, durations, rates, networks. */
#ifndef SOTTO_SERVER_VALUES_H
#define SOTTO_SERVER_VALUES_H

#include "base/buffer.h"
#include "base/error.h"
#include "gateway/services.h"

/* Each parser takes the whole text. On SOTTO_ERR_INVALID `why_out` gets what is
 * wrong and an example, without a full stop; *out is untouched. */

/* A plain decimal number, min..max. */
SOTTO_CHECKED enum sotto_err value_parse_number(struct slice text, uint64_t min, uint64_t max,
                                                struct buffer *why_out, uint64_t *out);
/* Bytes: 4096, 64KiB, 1MiB, 2GiB (also k, M, G and kB, MB, GB, all binary). */
SOTTO_CHECKED enum sotto_err value_parse_bytes(struct slice text, uint64_t min, uint64_t max,
                                               struct buffer *why_out, uint64_t *out);
/* Milliseconds: 250ms, 10s, 5m, 2h, 7d. A bare number other than 0 is refused,
 * because nobody can tell its unit. */
SOTTO_CHECKED enum sotto_err value_parse_duration(struct slice text, uint64_t min, uint64_t max,
                                                  struct buffer *why_out, uint64_t *out);
/* "20/s burst 100", "30/m", "off". Without burst: one second's worth, at least
 * one. */
SOTTO_CHECKED enum sotto_err value_parse_rate(struct slice text, struct buffer *why_out, struct rate *out);
/* Addresses and networks, separated by commas: 127.0.0.1, 10.0.0.0/8, fd00::/8. At
 * most ADDRESS_RANGES_MAX. */
SOTTO_CHECKED enum sotto_err value_parse_ranges(struct slice text, struct buffer *why_out,
                                                struct address_ranges *out);

/* The shortest form that the parser reads back as the same value. */
void value_format_bytes(uint64_t bytes, struct buffer *out);
void value_format_duration(uint64_t ms, struct buffer *out);
void value_format_rate(struct rate rate, struct buffer *out);
void value_format_ranges(const struct address_ranges *ranges, struct buffer *out);

/* Without blanks, tabs and carriage returns at both ends. */
struct slice value_trim(struct slice text);

#endif
