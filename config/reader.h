/* reader: what the files of config/ share while a file is read. A value is always handled together
 * with its place, so that any function can say what is wrong with it, and where. */
#ifndef LP_CONFIG_READER_H
#define LP_CONFIG_READER_H

#include "config/node.h"
#include "config/schema.h"

struct reader {
    struct lp_config *config;
    struct lp_arena *arena;   /* the configuration's: lives as long as it does */
    struct lp_arena *scratch; /* nodes, keys and sentences: gone after the reading */
    struct report *report;
    struct lp_slice directory; /* of the file, with its last '/'; "" for the current one */
};

/* "pools.app.servers.a.address": longer ones are cut. */
#define READER_KEY_BYTES_MAX 512u

/* A value on its way down from the root. */
struct place {
    const struct place *up; /* NULL at the root */
    struct node *node;
    struct lp_slice key; /* as written; "" for an item of a list */
    uint32_t index;      /* of an item */
};

/* ---- read.c: from nodes to the structs, each value by itself ---- */

/* Fills the defaults of a section and its sub-sections. */
void read_defaults(struct reader *r, enum schema_section section, void *target);
void read_section(struct reader *r, const struct place *at, enum schema_section section,
                  void *target);

/* The key of a place from the top of the file; as long-lived as the arena. */
struct lp_slice read_full_key(const struct place *at, struct lp_arena *arena);

/* A scalar with its ${NAME} replaced. False after an error was reported. */
bool read_text(struct reader *r, const struct place *at, struct lp_slice *out) LP_MUST_USE;

/* Points at the value, or at its key when the value is a map, a list or nothing. */
void read_error(struct reader *r, const struct place *at, const char *format, ...) LP_PRINTF(3, 4);
void read_warning(struct reader *r, const struct place *at, const char *format, ...)
    LP_PRINTF(3, 4);
/* Points at the key. */
void read_error_of_key(struct reader *r, const struct place *at, const char *valid_here,
                       const char *format, ...) LP_PRINTF(4, 5);

/* A map without duplicate keys (they are reported and taken out); nothing behind the colon is an
 * empty one. False after an error. what: "a map of names". */
bool read_map(struct reader *r, const struct place *at, const char *what) LP_MUST_USE;

/* "One or a list". Gives the first item and in *count how many there are: 0 after an error, for an
 * empty list, or when nothing is written. Go on with node->next. */
struct node *read_items(struct reader *r, const struct place *at, uint32_t *count);
/* The place of an item that read_items() gave. */
struct place place_of_item(const struct place *at, struct node *node, uint32_t index);
/* The place of a key; its node is NULL when it is not written. */
struct place place_of_key(const struct place *map, const char *key);

/* Puts an array into the fields that the row names. */
void read_store_array(const struct schema_row *row, void *target, const void *array,
                      uint32_t count);

/* ---- scalar.c: numbers and words ---- */

#define SCALAR_PROBLEM_BYTES 512u

/* False with a sentence in problem. */
bool scalar_parse(const struct schema_row *row, struct lp_slice text, uint64_t *out,
                  char problem[SCALAR_PROBLEM_BYTES]) LP_MUST_USE;
bool scalar_is_number(enum schema_type type);
/* A number of a row as one would write it: "1ms", "16KiB". Gives the length. */
size_t scalar_format(enum schema_type type, uint64_t value, char *out, size_t out_size);

/* ---- values.c, match.c, health.c and secure.c: everything else, one function a type ---- */

/* RFC 9110, 5.6.2: names of headers and of cookies. */
bool value_is_token(struct lp_slice text);
/* The path of a file, made one beside the configuration's; NUL-terminated. False after an error. */
bool value_read_path(struct reader *r, const struct place *at, struct lp_slice *out) LP_MUST_USE;
/* The sentence that says why this is no host name, or NULL. */
const char *value_problem_of_name(struct lp_slice name);
/* A copy in lower case. */
struct lp_slice value_lower(struct reader *r, struct lp_slice text);

typedef void (*value_fn)(struct reader *r, const struct place *at, const struct schema_row *row,
                         void *target);

void value_read_log_target(struct reader *r, const struct place *at, const struct schema_row *row,
                           void *target);
void value_read_names(struct reader *r, const struct place *at, const struct schema_row *row,
                      void *target);
void value_read_binds(struct reader *r, const struct place *at, const struct schema_row *row,
                      void *target);
void value_read_cidrs(struct reader *r, const struct place *at, const struct schema_row *row,
                      void *target);
void value_read_address(struct reader *r, const struct place *at, const struct schema_row *row,
                        void *target);
void value_read_key_sources(struct reader *r, const struct place *at, const struct schema_row *row,
                            void *target);
void value_read_secret_file(struct reader *r, const struct place *at, const struct schema_row *row,
                            void *target);
void value_read_file(struct reader *r, const struct place *at, const struct schema_row *row,
                     void *target);
void value_read_tls_versions(struct reader *r, const struct place *at, const struct schema_row *row,
                             void *target);
void value_read_tls_name(struct reader *r, const struct place *at, const struct schema_row *row,
                         void *target);
void value_read_sni(struct reader *r, const struct place *at, const struct schema_row *row,
                    void *target);
void value_read_host(struct reader *r, const struct place *at, const struct schema_row *row,
                     void *target);
void value_read_path_prefix(struct reader *r, const struct place *at, const struct schema_row *row,
                            void *target);
void value_read_path_exact(struct reader *r, const struct place *at, const struct schema_row *row,
                           void *target);
void value_read_check_path(struct reader *r, const struct place *at, const struct schema_row *row,
                           void *target);
void value_read_check_host(struct reader *r, const struct place *at, const struct schema_row *row,
                           void *target);
void value_read_headers(struct reader *r, const struct place *at, const struct schema_row *row,
                        void *target);
void value_read_statuses(struct reader *r, const struct place *at, const struct schema_row *row,
                         void *target);
void value_read_server_id(struct reader *r, const struct place *at, const struct schema_row *row,
                          void *target);

/* ---- check.c: what the values mean together ---- */

/* After read_section(): looks up pools, resolves inherited values, refuses contradictions. */
void check_config(struct reader *r, struct node *root);
/* secure.c: the tls sections of a listener and of a pool. */
void check_front_tls(struct reader *r, const struct place *listener_at,
                     const struct lp_cfg_listener *listener);
void check_back_tls(struct reader *r, const struct place *pool_at, struct lp_cfg_pool *pool);
/* check.c: was this read as a map, so that what it lacks is worth a word? */
bool check_is_map(const struct node *node);
/* The same: points at the map where the key should stand. */
void check_report_missing(struct reader *r, const struct place *map, const char *key,
                          const char *sentence);
/* effect.c: warns of what is written where nothing reads it; of files without errors only. */
void effect_check(struct reader *r, const struct place *root);
/* binds.c: addresses across the file. */
void check_binds(struct reader *r, const struct place *root);

#endif
