/* world: configurations written by a program, and a snapshot of one without sockets. */
#ifndef MICRO_WORLD_H
#define MICRO_WORLD_H

#include "lb/proxy/snapshot.h"

/* Text that grows. Zeroed memory is an empty one. */
struct text {
    char *data;
    size_t size, room;
};

void text_add(struct text *text, const char *format, ...) LP_PRINTF(2, 3);
void text_free(struct text *text);

/* What the routes of a listener demand: a whole host, all hosts below one, the first segment of a
 * path, or its second behind a first that all share. */
enum routes_by { ROUTES_BY_HOST, ROUTES_BY_WILDCARD, ROUTES_BY_SEGMENT, ROUTES_BY_PATH };
enum { ROUTES_BY_COUNT = ROUTES_BY_PATH + 1 };

/* What the configuration is made of. */
struct plan {
    uint32_t pools_count;   /* p0, p1, ...                                  */
    uint32_t servers_count; /* of each pool: s0, s1, ...                    */
    bool has_weights;       /* 1..10, in turn; else 1                       */
    const char *balance;    /* NULL: the default                            */
    const char *key;        /* a line of YAML for `hash.key`; NULL: default */
    uint32_t routes_count;  /* before the last one, which takes the rest    */
    enum routes_by routes_by;
};

/* Gives the YAML of a plan; to be freed with text_free(). */
struct text plan_text(const struct plan *plan);

/* A request that route number 42 of such routes matches: "app-00042.example.com" and the like.
 * Gives the size. */
#define ROUTE_TEXT_MAX 40u
size_t route_request_host(char out[ROUTE_TEXT_MAX], enum routes_by by, uint32_t number);
size_t route_request_path(char out[ROUTE_TEXT_MAX], enum routes_by by, uint32_t number);

struct lp_config *config_of(struct lp_slice yaml);

/* A snapshot bound to run-time objects and to an address that nobody listens on. */
struct world {
    struct snapshot *snapshot;
    struct registry registry;
    struct lp_list endpoints;
};

void world_init(struct world *world, const struct plan *plan);
void world_bind(struct world *world, struct lp_config *config);
void world_deinit(struct world *world);

#endif
