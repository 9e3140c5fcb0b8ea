/* scan: where does this run of bytes end? The innermost loops of the parser, each one function
 * that gives the first byte of [at, end) outside a class, or end.
 *
 * The table versions run everywhere and say what is meant; the SSE2 versions (every x86-64) look
 * at 16 bytes a step and hand the rest to the table. No version reads at end or behind it. */
#ifndef LP_LB_HTTP_SCAN_H
#define LP_LB_HTTP_SCAN_H

#include "base/macros.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum scan_class {
    SCAN_PLAIN = 1,  /* letters, digits, "-": what nearly every field name is made of */
    SCAN_TOKEN = 2,  /* tchar (RFC 9110, 5.6.2), PLAIN included                       */
    SCAN_TARGET = 4, /* visible ASCII without "#"                                     */
    SCAN_VALUE = 8,  /* HTAB, SP, visible ASCII, obs-text                             */
    SCAN_LINE = 16,  /* all but CR and LF                                             */
};

extern const uint8_t http1_scan_classes[256];

static inline bool scan_is(char byte, enum scan_class class)
{
    return (http1_scan_classes[(uint8_t)byte] & class) != 0;
}

static inline const char *scan_by_table(const char *at, const char *end, enum scan_class class)
{
    while (at != end && scan_is(*at, class))
        at++;
    return at;
}

#ifdef __SSE2__
/* Each answers with a bit for every byte that is *outside* the class. */
static inline unsigned scan_stops_plain(__m128i bytes)
{
    /* Bit 0x20 folds upper case into lower; it turns nothing else into a letter. The subtraction
     * moves the range to the bottom of the signed bytes, where one comparison finds it. */
    __m128i letters =
        _mm_add_epi8(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), _mm_set1_epi8((char)(0x80 - 'a')));
    __m128i digits = _mm_add_epi8(bytes, _mm_set1_epi8((char)(0x80 - '0')));
    __m128i plain = _mm_or_si128(_mm_cmplt_epi8(letters, _mm_set1_epi8((char)(0x80 + 26))),
                                 _mm_cmplt_epi8(digits, _mm_set1_epi8((char)(0x80 + 10))));

    plain = _mm_or_si128(plain, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('-')));
    return (unsigned)_mm_movemask_epi8(plain) ^ 0xffffu;
}

static inline unsigned scan_stops_target(__m128i bytes)
{
    /* As signed bytes, obs-text is negative and so below 0x21, too. */
    __m128i stops = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x21));

    stops = _mm_or_si128(stops, _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f)));
    stops = _mm_or_si128(stops, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('#')));
    return (unsigned)_mm_movemask_epi8(stops);
}

static inline unsigned scan_stops_value(__m128i bytes)
{
    __m128i controls = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);

    controls = _mm_andnot_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t')), controls);
    controls = _mm_or_si128(controls, _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f)));
    return (unsigned)_mm_movemask_epi8(controls);
}

static inline unsigned scan_stops_line(__m128i bytes)
{
    __m128i stops = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\r')),
                                 _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n')));

    return (unsigned)_mm_movemask_epi8(stops);
}

#define SCAN_BY_SSE2(at, end, stops_of)                                                            \
    while ((end) - (at) >= 16) {                                                                   \
        unsigned stops = stops_of(_mm_loadu_si128((const __m128i *)(const void *)(at)));           \
                                                                                                   \
        if (stops != 0)                                                                            \
            return (at) + __builtin_ctz(stops);                                                    \
        (at) += 16;                                                                                \
    }
#else
#define SCAN_BY_SSE2(at, end, stops_of)
#endif

static inline const char *scan_plain(const char *at, const char *end)
{
    SCAN_BY_SSE2(at, end, scan_stops_plain)
    return scan_by_table(at, end, SCAN_PLAIN);
}

/* Tells in *is_plain (which it may clear) whether all of it was PLAIN. */
static inline const char *scan_token(const char *at, const char *end, bool *is_plain)
{
    at = scan_plain(at, end);
    if (at == end || !scan_is(*at, SCAN_TOKEN))
        return at;
    *is_plain = false;
    return scan_by_table(at, end, SCAN_TOKEN);
}

static inline const char *scan_target(const char *at, const char *end)
{
    SCAN_BY_SSE2(at, end, scan_stops_target)
    return scan_by_table(at, end, SCAN_TARGET);
}

static inline const char *scan_value(const char *at, const char *end)
{
    SCAN_BY_SSE2(at, end, scan_stops_value)
    return scan_by_table(at, end, SCAN_VALUE);
}

static inline const char *scan_line(const char *at, const char *end)
{
    SCAN_BY_SSE2(at, end, scan_stops_line)
    return scan_by_table(at, end, SCAN_LINE);
}

#endif
