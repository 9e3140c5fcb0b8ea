/* The second step of a head, what it means, and the parts of a request that routes and keys ask
 * for. */
#include <string.h>

#include "bench/micro/heads.h"
#include "bench/micro/micro.h"

/* What the cases below read; each uses a few of these. */
struct asking {
    const struct example *example;
    struct http1_head head;
    struct lp_slice text, name;
    struct lp_ip peer;
    struct lp_cidr trusted;
    char out[LP_HEAD_BYTES_MAX];
};

static uint64_t run_read_request(void *context, uint64_t count)
{
    struct asking *asking = context;
    uint64_t begin = micro_ticks();

    while (count-- > 0) {
        struct http1_request request;
        const char *why;
        micro_keep((uint64_t)http1_read_request(&request, &asking->head,
                                                asking->example->bytes.data, &why));
        micro_keep_pointer(&request);
    }
    return micro_ticks() - begin;
}

static uint64_t run_read_response(void *context, uint64_t count)
{
    struct asking *asking = context;
    uint64_t begin = micro_ticks();

    while (count-- > 0) {
        struct http1_response response;
        const char *why;
        micro_keep(http1_read_response(&response, &asking->head, asking->example->bytes.data,
                                       HTTP1_GET, &why));
        micro_keep_pointer(&response);
    }
    return micro_ticks() - begin;
}

static uint64_t run_normalise(void *context, uint64_t count)
{
    struct asking *asking = context;
    uint64_t begin = micro_ticks();

    while (count-- > 0) {
        micro_keep(http1_normalise_path(asking->out, asking->text));
        micro_keep_pointer(asking->out);
    }
    return micro_ticks() - begin;
}

static uint64_t run_cookie(void *context, uint64_t count)
{
    struct asking *asking = context;
    uint64_t begin = micro_ticks();

    while (count-- > 0) {
        struct lp_slice value = {NULL, 0};
        micro_keep(http1_cookie(&value, &asking->head, asking->example->bytes.data, asking->name));
        micro_keep(value.size);
    }
    return micro_ticks() - begin;
}

static uint64_t run_client_ip(void *context, uint64_t count)
{
    struct asking *asking = context;
    uint64_t begin = micro_ticks();

    while (count-- > 0) {
        struct lp_ip ip = http1_client_ip(&asking->peer, &asking->head, asking->example->bytes.data,
                                          &asking->trusted, 1);
        micro_keep_pointer(&ip);
    }
    return micro_ticks() - begin;
}

static uint64_t run_ip_format(void *context, uint64_t count)
{
    struct asking *asking = context;
    uint64_t begin = micro_ticks();

    while (count-- > 0) {
        micro_keep(lp_ip_format(&asking->peer, asking->out));
        micro_keep_pointer(asking->out);
    }
    return micro_ticks() - begin;
}

static void take_example(struct asking *asking, int number)
{
    asking->example = &examples()[number];
    example_parse(&asking->head, asking->example);
}

static void measure_reading(struct micro *micro, struct asking *asking)
{
    for (int i = 0; i < EXAMPLE_COUNT; i++) {
        take_example(asking, i);
        micro_measure(
            micro,
            &(struct micro_work){asking->example->is_request ? run_read_request : run_read_response,
                                 .context = asking, .bytes = asking->example->bytes.size},
            "framing and rules: %s", asking->example->name);
    }
}

static void measure_paths(struct micro *micro, struct asking *asking)
{
    static const struct {
        const char *what;
        const char *path;
    } paths[] = {
        {"short path", "/ws/chat"},
        {"long plain path", "/shop/catalogue/winter-2024/articles/4711/reviews/page/2"},
        {"escaped path", "/shop/%7Euser/../a%2fb/./caf%c3%a9//menu"},
    };

    for (size_t i = 0; i < LP_COUNT_OF(paths); i++) {
        asking->text = lp_slice_of(paths[i].path);
        MICRO_REQUIRE(http1_normalise_path(asking->out, asking->text) <= asking->text.size);
        micro_measure(
            micro,
            &(struct micro_work){run_normalise, .context = asking, .bytes = asking->text.size},
            "normalise: %s", paths[i].what);
    }
}

static void measure_clients(struct micro *micro, struct asking *asking)
{
    struct micro_work client_ip = {run_client_ip, .context = asking};
    struct micro_work ip_format = {run_ip_format, .context = asking};

    asking->name = LP_SLICE("session");
    take_example(asking, EXAMPLE_CHROME);
    micro_measure(micro, &(struct micro_work){run_cookie, .context = asking},
                  "cookie: first of three");
    take_example(asking, EXAMPLE_COOKIES);
    micro_measure(micro, &(struct micro_work){run_cookie, .context = asking},
                  "cookie: behind 14 of 256 bytes");

    MICRO_REQUIRE(lp_cidr_parse(&asking->trusted, LP_SLICE("198.51.100.0/24")));
    MICRO_REQUIRE(lp_ip_parse(&asking->peer, LP_SLICE("192.0.2.33")));
    take_example(asking, EXAMPLE_BEHIND_PROXY);
    micro_measure(micro, &client_ip, "client: peer is not trusted");
    MICRO_REQUIRE(lp_ip_parse(&asking->peer, LP_SLICE("198.51.100.8")));
    micro_measure(micro, &client_ip, "client: behind two trusted proxies");
    micro_measure(micro, &ip_format, "address as text: IPv4");
    MICRO_REQUIRE(lp_ip_parse(&asking->peer, LP_SLICE("2001:db8:12::4:5678")));
    micro_measure(micro, &ip_format, "address as text: IPv6");
}

void micro_meaning(struct micro *micro)
{
    struct asking *asking = lp_alloc(sizeof(*asking));

    measure_reading(micro, asking);
    measure_paths(micro, asking);
    measure_clients(micro, asking);
    lp_free(asking);
}
