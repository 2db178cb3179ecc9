/* Units are tables, read in both directions: the parser finds the suffix, the
 * formatter takes the largest unit that divides the value. */
#include "server/values.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

struct unit {
    const char *suffix;
    uint64_t scale;
};
static const struct unit byte_units[] = {
    {"B", 1},           {"", 1},
    {"KiB", 1u << 10},  {"K", 1u << 10},  {"kB", 1u << 10},
    {"MiB", 1u << 20},  {"M", 1u << 20},  {"MB", 1u << 20},
    {"GiB", 1u << 30},  {"G", 1u << 30},  {"GB", 1u << 30},
    {"TiB", 1ull << 40},{"T", 1ull << 40},{"TB", 1ull << 40},
    {NULL, 0},
};
static const struct unit time_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"min", 60 * 1000}, {"h", 3600 * 1000}, {"d", 24 * 3600 * 1000},
    {NULL, 0},
};

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

struct slice value_trim(struct slice text)
{
    while (text.len > 0 && is_blank(text.data[0])) text = slice_of(text.data + 1, text.len - 1);
    while (text.len > 0 && is_blank(text.data[text.len - 1])) text.len--;
    return text;
}

/* Leading decimal digits; false when there is none or they overflow. */
static bool take_digits(struct slice *text, uint64_t *out)
{
    uint64_t v = 0;
    size_t i = 0;
    for (; i < text->len && text->data[i] >= '0' && text->data[i] <= '9'; i++) {
        uint64_t digit = text->data[i] - (uint64_t)'0';
        if (v > (UINT64_MAX - digit) / 10) return false;
        v = v * 10 + digit;
    }
    if (i == 0) return false;
    *text = slice_of(text->data + i, text->len - i);
    *out = v;
    return true;
}

static bool same_word(struct slice text, const char *word)
{
    return text.len == strlen(word) && strncasecmp((const char *)text.data, word, text.len) == 0;
}

enum sotto_err value_parse_number(struct slice text, uint64_t min, uint64_t max, struct buffer *why_out,
                                  uint64_t *out)
{
    struct slice rest = text;
    uint64_t v;
    if (!take_digits(&rest, &v) || rest.len != 0) {
        buffer_printf(why_out, "\"%.*s\" is not a whole number", (int)text.len, (const char *)text.data);
        return SOTTO_ERR_INVALID;
    }
    if (v < min || v > max) {
        buffer_printf(why_out, "%llu is not between %llu and %llu", (unsigned long long)v, (unsigned long long)min,
                      (unsigned long long)max);
        return SOTTO_ERR_INVALID;
    }
    *out = v;
    return SOTTO_OK;
}

/* Digits and a unit of the table; `example` is for the error. */
static enum sotto_err parse_scaled(struct slice text, const struct unit *units, const char *example,
                                   struct buffer *why_out, uint64_t *out)
{
    struct slice rest = text;
    uint64_t v;
    if (!take_digits(&rest, &v)) {
        buffer_printf(why_out, "\"%.*s\" is not a number with a unit; write it like %s", (int)text.len,
                      (const char *)text.data, example);
        return SOTTO_ERR_INVALID;
    }
    rest = value_trim(rest);
    for (const struct unit *u = units; u->suffix != NULL; u++) {
        if (!same_word(rest, u->suffix)) continue;
        if (v > UINT64_MAX / u->scale) {
            buffer_printf(why_out, "\"%.*s\" is too large", (int)text.len, (const char *)text.data);
            return SOTTO_ERR_INVALID;
        }
        *out = v * u->scale;
        return SOTTO_OK;
    }
    if (rest.len == 0 && v == 0) {
        *out = 0;
        return SOTTO_OK;
    }
    if (rest.len == 0) {
        buffer_printf(why_out, "\"%.*s\" has no unit; write it like %s", (int)text.len, (const char *)text.data,
                      example);
    } else {
        buffer_printf(why_out, "\"%.*s\" is not a unit; write the value like %s", (int)rest.len,
                      (const char *)rest.data, example);
    }
    return SOTTO_ERR_INVALID;
}

static enum sotto_err check_range(uint64_t v, uint64_t min, uint64_t max,
                                  void (*format)(uint64_t, struct buffer *), struct buffer *why_out)
{
    if (v >= min && v <= max) return SOTTO_OK;
    format(v, why_out);
    buffer_append_str(why_out, " is not between ");
    format(min, why_out);
    buffer_append_str(why_out, " and ");
    format(max, why_out);
    return SOTTO_ERR_INVALID;
}

enum sotto_err value_parse_bytes(struct slice text, uint64_t min, uint64_t max, struct buffer *why_out,
                                 uint64_t *out)
{
    uint64_t v;
    enum sotto_err err = parse_scaled(text, byte_units, "64MiB", why_out, &v);
    if (err == SOTTO_OK) err = check_range(v, min, max, value_format_bytes, why_out);
    if (err == SOTTO_OK) *out = v;
    return err;
}

enum sotto_err value_parse_duration(struct slice text, uint64_t min, uint64_t max, struct buffer *why_out,
                                    uint64_t *out)
{
    uint64_t v;
    enum sotto_err err = parse_scaled(text, time_units, "250ms, 10s, 5m, 2h or 7d", why_out, &v);
    if (err == SOTTO_OK) err = check_range(v, min, max, value_format_duration, why_out);
    if (err == SOTTO_OK) *out = v;
    return err;
}

/* A decimal with an optional fraction of up to three digits. */
static bool take_decimal(struct slice *text, double *out)
{
    uint64_t whole, part;
    if (!take_digits(text, &whole)) return false;
    *out = (double)whole;
    if (text->len < 2 || text->data[0] != '.') return true;
    struct slice rest = slice_of(text->data + 1, text->len - 1);
    size_t before = rest.len;
    if (!take_digits(&rest, &part) || before - rest.len > 3) return false;
    double scale = 1;
    for (size_t i = before - rest.len; i > 0; i--) scale *= 10;
    *out += (double)part / scale;
    *text = rest;
    return true;
}

/* Where none is given. */
static double burst_of(double per_second) { return per_second < 1 ? 1 : per_second; }

enum sotto_err value_parse_rate(struct slice text, struct buffer *why_out, struct rate *out)
{
    if (same_word(text, "off")) {
        *out = (struct rate){0};
        return SOTTO_OK;
    }
    static const struct unit per[] = {{"/s", 1}, {"/m", 60}, {"/h", 3600}};
    struct slice rest = text;
    struct rate r = {0};
    double divide = 0;
    if (take_decimal(&rest, &r.per_second)) {
        for (size_t i = 0; i < sizeof(per) / sizeof(per[0]); i++) {
            if (rest.len >= 2 && memcmp(rest.data, per[i].suffix, 2) == 0) divide = (double)per[i].scale;
        }
    }
    if (divide > 0) {
        r.per_second /= divide;
        rest = value_trim(slice_of(rest.data + 2, rest.len - 2));
        r.burst = burst_of(r.per_second);
        if (rest.len > 5 && memcmp(rest.data, "burst", 5) == 0) {
            rest = value_trim(slice_of(rest.data + 5, rest.len - 5));
            if (!take_decimal(&rest, &r.burst)) divide = 0;
        }
    }
    if (divide <= 0 || rest.len != 0 || r.per_second <= 0 || r.burst < 1) {
        buffer_printf(why_out, "\"%.*s\" is not a rate; write it like \"20/s burst 100\", \"30/m\" or \"off\"",
                      (int)text.len, (const char *)text.data);
        return SOTTO_ERR_INVALID;
    }
    *out = r;
    return SOTTO_OK;
}

enum { V4_BEGINS = 12 };
static const uint8_t v4_mapped[V4_BEGINS] = {[10] = 0xff, [11] = 0xff};

static bool parse_range(struct slice text, struct address_range *out)
{
    char host[INET6_ADDRSTRLEN];
    const uint8_t *slash = memchr(text.data, '/', text.len);
    size_t len = slash != NULL ? (size_t)(slash - text.data) : text.len;
    uint64_t bits = 128, least = 0;
    struct address_range r;
    if (len == 0 || len >= sizeof(host)) return false;
    memcpy(host, text.data, len);
    host[len] = '\0';
    if (inet_pton(AF_INET, host, r.base.bytes + V4_BEGINS) == 1) {
        memcpy(r.base.bytes, v4_mapped, V4_BEGINS);
        least = 8 * V4_BEGINS;
    } else if (inet_pton(AF_INET6, host, r.base.bytes) != 1) {
        return false;
    }
    if (slash != NULL) {
        struct slice digits = slice_of(slash + 1, text.len - len - 1);
        if (!take_digits(&digits, &bits) || digits.len != 0 || bits > 128 - least) return false;
        bits += least;
    }
    for (size_t bit = bits; bit < 128; bit++) r.base.bytes[bit / 8] &= (uint8_t)~(0x80 >> bit % 8);
    r.bits = (uint8_t)bits;
    *out = r;
    return true;
}

enum sotto_err value_parse_ranges(struct slice text, struct buffer *why_out, struct address_ranges *out)
{
    struct address_ranges ranges = {0};
    while (text.len > 0) {
        const uint8_t *comma = memchr(text.data, ',', text.len);
        size_t len = comma != NULL ? (size_t)(comma - text.data) : text.len;
        struct slice one = value_trim(slice_of(text.data, len));
        if (ranges.count == ADDRESS_RANGES_MAX) {
            buffer_printf(why_out, "there are more than %d", ADDRESS_RANGES_MAX);
            return SOTTO_ERR_INVALID;
        }
        if (one.len == 0 || !parse_range(one, &ranges.at[ranges.count])) {
            buffer_printf(why_out, "\"%.*s\" is neither an address nor a network; write 127.0.0.1 or 10.0.0.0/8",
                          (int)one.len, (const char *)one.data);
            return SOTTO_ERR_INVALID;
        }
        ranges.count++;
        text = slice_of(text.data + len, text.len - len);
        if (comma != NULL) text = slice_of(text.data + 1, text.len - 1);
    }
    *out = ranges;
    return SOTTO_OK;
}

void value_format_bytes(uint64_t bytes, struct buffer *out)
{
    static const struct unit shown[] = {{"TiB", 1ull << 40}, {"GiB", 1u << 30}, {"MiB", 1u << 20}, {"KiB", 1u << 10}};
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        if (bytes < shown[i].scale || bytes % shown[i].scale != 0) continue;
        buffer_printf(out, "%llu%s", (unsigned long long)(bytes / shown[i].scale), shown[i].suffix);
        return;
    }
    buffer_append_u64(out, bytes);
}

void value_format_duration(uint64_t ms, struct buffer *out)
{
    static const struct unit shown[] = {{"d", 24 * 3600 * 1000}, {"h", 3600 * 1000}, {"m", 60 * 1000}, {"s", 1000}};
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        if (ms < shown[i].scale || ms % shown[i].scale != 0) continue;
        buffer_printf(out, "%llu%s", (unsigned long long)(ms / shown[i].scale), shown[i].suffix);
        return;
    }
    buffer_printf(out, ms == 0 ? "0" : "%llums", (unsigned long long)ms);
}

static bool is_short(double v)
{
    double thousands = v * 1000, whole = (double)(uint64_t)(thousands + 0.5);
    return thousands - whole < 1e-9 * whole && whole - thousands < 1e-9 * whole;
}

static void format_decimal(double v, struct buffer *out)
{
    char text[64];
    int len = snprintf(text, sizeof(text), "%.3f", v);
    while (text[len - 1] == '0') len--;
    if (text[len - 1] == '.') len--;
    buffer_append(out, text, (size_t)len);
}

void value_format_rate(struct rate rate, struct buffer *out)
{
    if (rate.per_second <= 0) {
        buffer_append_str(out, "off");
        return;
    }
    /* In the unit in which three digits behind the point are exact: that it was written in. */
    static const struct unit per[] = {{"/s", 1}, {"/m", 60}, {"/h", 3600}};
    size_t i = 0;
    while (i < 2 && !is_short(rate.per_second * (double)per[i].scale)) i++;
    format_decimal(rate.per_second * (double)per[i].scale, out);
    buffer_append_str(out, per[i].suffix);
    if (rate.burst == burst_of(rate.per_second)) return;
    buffer_append_str(out, " burst ");
    format_decimal(rate.burst, out);
}

void value_format_ranges(const struct address_ranges *ranges, struct buffer *out)
{
    for (size_t i = 0; i < ranges->count; i++) {
        const struct address_range *r = &ranges->at[i];
        char host[INET6_ADDRSTRLEN];
        bool v4 = r->bits >= 8 * V4_BEGINS && memcmp(r->base.bytes, v4_mapped, V4_BEGINS) == 0;
        inet_ntop(v4 ? AF_INET : AF_INET6, r->base.bytes + (v4 ? V4_BEGINS : 0), host, sizeof(host));
        buffer_printf(out, "%s%s", i == 0 ? "" : ", ", host);
        if (r->bits < 128) buffer_printf(out, "/%u", v4 ? r->bits - 8u * V4_BEGINS : r->bits);
    }
}
