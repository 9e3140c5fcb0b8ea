/* schema: the one table of the configuration language. The reader, the defaults, the messages and
 * docs/configuration.md all come from it: a new key is a new row. */
#ifndef LP_CONFIG_SCHEMA_H
#define LP_CONFIG_SCHEMA_H

#include "config/config.h"

/* A map of the file, and the struct that its keys fill. */
enum schema_section {
    SECTION_ROOT,
    SECTION_LOG,
    SECTION_ACCESS,
    SECTION_LIMITS,
    SECTION_TIMEOUTS,
    SECTION_DRAIN,
    SECTION_LISTENER,
    SECTION_FRONT_TLS,
    SECTION_CERTIFICATE,
    SECTION_TICKETS,
    SECTION_ROUTE,
    SECTION_MATCH,
    SECTION_POOL,
    SECTION_HASH,
    SECTION_KEEP_ALIVE,
    SECTION_BACK_TLS,
    SECTION_POOL_DRAIN,
    SECTION_CHECK,
    SECTION_SERVER,
};
enum { SECTION_COUNT = SECTION_SERVER + 1 };

enum schema_type {
    /* one number each, stored in row->size bytes */
    TYPE_DURATION, /* milliseconds */
    TYPE_SECONDS,  /* a long duration, in seconds; `off` is 0 */
    TYPE_SIZE,     /* bytes */
    TYPE_COUNT,
    TYPE_PERCENT,
    TYPE_BOOL,
    TYPE_WORD,       /* the index in row->words */
    TYPE_CLOSE_CODE, /* a WebSocket close code that may be sent */

    /* everything else has a function of its own in values.c */
    TYPE_LOG_TARGET,
    TYPE_NAMES, /* a list of texts */
    TYPE_BINDS,
    TYPE_CIDRS,
    TYPE_ADDRESS,
    TYPE_KEY_SOURCES,
    TYPE_SECRET_FILE, /* read at once, for the seed of a hash */
    TYPE_FILE,        /* only named here */
    TYPE_TLS_VERSIONS,
    TYPE_TLS_NAME,
    TYPE_HOST,
    TYPE_SNI,
    TYPE_PATH_PREFIX,
    TYPE_PATH_EXACT,
    TYPE_CHECK_PATH,
    TYPE_CHECK_HOST,
    TYPE_HEADERS,
    TYPE_STATUSES,
    TYPE_SERVER_ID,
    TYPE_POOL_NAME, /* looked up when all pools are known: check.c */

    /* maps and lists of maps, which open row->opens */
    TYPE_SECTION,   /* a map in the same struct, at row->offset */
    TYPE_OPTIONAL,  /* the same, off until it is written: the struct begins with bool is_on */
    TYPE_OVERRIDES, /* a section without defaults: what is not written is SCHEMA_UNSET */
    TYPE_NAMED,     /* a map from names to maps: an array of structs */
    TYPE_LIST,      /* a list of maps: an array of structs */
};
enum { TYPE_COUNT_OF_TYPES = TYPE_LIST + 1 };

/* What a reload changes when the value differs. */
enum schema_reload {
    RELOAD_AT_ONCE,
    RELOAD_NEW_STREAMS,
    RELOAD_HANDSHAKES,
    RELOAD_SOCKETS,
    RELOAD_MOVES_KEYS,
    RELOAD_SERVER,
    RELOAD_RESTART,
};

#define SCHEMA_UNSET    (UINT32_MAX - 1) /* a duration that this level leaves to the next */
#define SCHEMA_OFF      1u               /* `off` is a value: all bits set */
#define SCHEMA_AUTO     2u               /* `auto` is a value: 0 */
#define SCHEMA_REQUIRED 4u               /* for the documentation; check.c says what is missing */

struct schema_row {
    enum schema_section in;
    enum schema_type type;
    const char *key;
    const char *fallback; /* the default as one would write it; NULL: absent */
    uint64_t min, max;    /* of a number, both included */
    const char *words;    /* of TYPE_WORD: "json|text", as in the enum; "" cannot be written */
    uint32_t flags;
    enum schema_section opens;
    size_t offset, size; /* of the field; size 0: nothing is stored */
    size_t count_offset; /* of an array's count */
    const char *doc;
    enum schema_reload reload;
};

/* The struct of one element of a TYPE_NAMED or TYPE_LIST, and where a section stands. */
struct schema_place {
    const char *path; /* "pools.NAME.check" */
    size_t size;
    size_t name_offset, pos_offset; /* of named ones; TYPE_LIST has only a position */
};

extern const struct schema_row schema_rows[];
extern const uint32_t schema_rows_count;
extern const struct schema_place schema_places[SECTION_COUNT];

/* NULL when the section has no such key. */
const struct schema_row *schema_find(enum schema_section section, struct lp_slice key);

/* "a, b, c": every key of a section. Gives the length without the NUL; cut at out_size. */
size_t schema_list_keys(enum schema_section section, char *out, size_t out_size);

/* ---- words.c: what people write who come from elsewhere, and slips of the finger ---- */

/* How many letters to change, insert, drop or swap; at most 64 of each word are compared. */
uint32_t words_distance(struct lp_slice a, struct lp_slice b);
/* Near enough to ask "did you mean": a third of the letters may be wrong, at most three. */
bool words_are_near(struct lp_slice a, struct lp_slice b);
/* The key of this section that was probably meant, or NULL. */
const char *words_nearest_key(enum schema_section section, struct lp_slice key);
/* Our word for another balancer's key or value, or NULL. */
const char *words_for_key(enum schema_section section, struct lp_slice key);
const char *words_for_value(const char *key, struct lp_slice value);

#endif
