/* Configurations of any size as YAML, and snapshots bound like those of the control thread, but to
 * endpoints without sockets. */
#include "bench/micro/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bench/micro/micro.h"

#define TEXT_ROOM_MIN  4096u
#define SERVERS_PER_10 65025u /* of one second byte: 255 * 255 addresses */

void text_add(struct text *text, const char *format, ...)
{
    va_list arguments;

    for (;;) {
        va_start(arguments, format);
        int size = vsnprintf(text->data == NULL ? NULL : text->data + text->size,
                             text->room - text->size, format, arguments);
        va_end(arguments);
        MICRO_REQUIRE(size >= 0);
        if ((size_t)size < text->room - text->size) {
            text->size += (size_t)size;
            return;
        }
        text->room = 2 * text->room + (size_t)size + TEXT_ROOM_MIN;
        text->data = lp_realloc(text->data, text->room);
    }
}

void text_free(struct text *text)
{
    lp_free(text->data);
    *text = (struct text){0};
}

size_t route_request_host(char out[ROUTE_TEXT_MAX], enum routes_by by, uint32_t number)
{
    bool by_host = by == ROUTES_BY_HOST || by == ROUTES_BY_WILDCARD;

    return (size_t)snprintf(out, ROUTE_TEXT_MAX, "%sapp-%05u.example.com",
                            by == ROUTES_BY_WILDCARD ? "shop." : "", by_host ? number : 0);
}

size_t route_request_path(char out[ROUTE_TEXT_MAX], enum routes_by by, uint32_t number)
{
    bool by_path = by == ROUTES_BY_SEGMENT || by == ROUTES_BY_PATH;

    return (size_t)snprintf(out, ROUTE_TEXT_MAX, "/app%c%05u/items/7",
                            by == ROUTES_BY_PATH ? '/' : '-', by_path ? number : 0);
}

static void add_route(struct text *text, enum routes_by by, uint32_t number, uint32_t pool)
{
    text_add(text, "      - {match: {");
    switch (by) {
    case ROUTES_BY_HOST:
        text_add(text, "host: app-%05u.example.com", number);
        break;
    case ROUTES_BY_WILDCARD:
        text_add(text, "host: \"*.app-%05u.example.com\"", number);
        break;
    case ROUTES_BY_SEGMENT:
        text_add(text, "path: /app-%05u", number);
        break;
    case ROUTES_BY_PATH:
        text_add(text, "path: /app/%05u", number);
        break;
    }
    text_add(text, "}, pool: p%u}\n", pool);
}

static void add_routes(struct text *text, const struct plan *plan)
{
    for (uint32_t i = 0; i < plan->routes_count; i++)
        add_route(text, plan->routes_by, i, i % plan->pools_count);
    text_add(text, "      - {pool: p0}\n");
}

static void add_server(struct text *text, const struct plan *plan, uint32_t pool, uint32_t server)
{
    uint32_t number = pool * plan->servers_count + server;
    unsigned a = 1 + number / SERVERS_PER_10, b = number / 255 % 255, c = 1 + number % 255;

    if (plan->has_weights)
        text_add(text, "      s%u: {address: \"10.%u.%u.%u:9000\", weight: %u}\n", server, a, b, c,
                 1 + server % 10);
    else
        text_add(text, "      s%u: 10.%u.%u.%u:9000\n", server, a, b, c);
}

struct text plan_text(const struct plan *plan)
{
    struct text text = {0};

    text_add(&text, "listeners:\n  web:\n    bind: \"127.0.0.1:23000\"\n    routes:\n");
    add_routes(&text, plan);
    text_add(&text, "pools:\n");
    for (uint32_t pool = 0; pool < plan->pools_count; pool++) {
        text_add(&text, "  p%u:\n", pool);
        if (plan->balance != NULL)
            text_add(&text, "    balance: %s\n", plan->balance);
        if (plan->key != NULL)
            text_add(&text, "    hash: {key: %s}\n", plan->key);
        text_add(&text, "    servers:\n");
        for (uint32_t server = 0; server < plan->servers_count; server++)
            add_server(&text, plan, pool, server);
    }
    return text;
}

struct lp_config *config_of(struct lp_slice yaml)
{
    struct lp_config_report report;
    struct lp_config *config = NULL;

    if (!lp_config_parse(&config, &report, "bench.yaml", yaml))
        micro_fail(report.text);
    lp_config_report_deinit(&report);
    return config;
}

static void add_endpoints(struct world *world, const struct lp_cfg_listener *listener)
{
    for (uint32_t i = 0; i < listener->binds_count; i++) {
        struct endpoint *endpoint = lp_alloc(sizeof(*endpoint));
        endpoint->address = listener->binds[i].address;
        lp_list_push_back(&world->endpoints, &endpoint->link);
    }
}

void world_bind(struct world *world, struct lp_config *config)
{
    struct lp_err err = {0};

    MICRO_REQUIRE(snapshot_build(&world->snapshot, config, NULL, &err));
    registry_init(&world->registry, 1);
    lp_list_init(&world->endpoints);
    for (uint32_t i = 0; i < config->listeners_count; i++)
        add_endpoints(world, &config->listeners[i]);
    snapshot_bind(world->snapshot, &world->registry, &world->endpoints);
}

void world_init(struct world *world, const struct plan *plan)
{
    struct text text = plan_text(plan);

    world_bind(world, config_of((struct lp_slice){text.data, text.size}));
    text_free(&text);
}

void world_deinit(struct world *world)
{
    snapshot_destroy(world->snapshot);
    LP_LIST_EACH (link, &world->endpoints)
        endpoint_destroy(lp_container_of(link, struct endpoint, link));
    registry_sweep(&world->registry, true);
    registry_sweep(&world->registry, true); /* pools whose servers went the first time */
}
