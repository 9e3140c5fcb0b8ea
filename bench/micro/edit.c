/* The third step of a head: writing what goes on to the other side, as lb/proxy does it (into a
 * scratch buffer, with the lines that limpet adds), and the copy back to its place in front of the
 * body. */
#include <string.h>

#include "bench/micro/heads.h"
#include "bench/micro/micro.h"

struct editing {
    const struct example *example;
    struct http1_head head;
    struct http1_request request;
    struct http1_forward forward;
    enum http1_persist persist;
    bool copies_back;
    char scratch[LP_HEADROOM_BYTES + LP_BUF_SMALL_BYTES];
    char place[LP_HEADROOM_BYTES + LP_BUF_SMALL_BYTES];
};

static uint64_t run_request(void *context, uint64_t count)
{
    struct editing *editing = context;
    uint64_t begin = micro_ticks();

    while (count-- > 0) {
        size_t size =
            http1_write_request(editing->scratch, sizeof(editing->scratch), &editing->head,
                                editing->example->bytes.data, &editing->request, &editing->forward);
        if (editing->copies_back)
            memcpy(editing->place, editing->scratch, size);
        micro_keep(size);
    }
    return micro_ticks() - begin;
}

static uint64_t run_response(void *context, uint64_t count)
{
    struct editing *editing = context;
    uint64_t begin = micro_ticks();

    while (count-- > 0) {
        size_t size = http1_write_response(editing->scratch, sizeof(editing->scratch),
                                           &editing->head, editing->example->bytes.data,
                                           editing->persist, false, (struct lp_slice){0});
        if (editing->copies_back)
            memcpy(editing->place, editing->scratch, size);
        micro_keep(size);
    }
    return micro_ticks() - begin;
}

static void take_example(struct editing *editing, const struct example *example)
{
    struct http1_response response;
    const char *bytes = example->bytes.data, *why = NULL;

    editing->example = example;
    example_parse(&editing->head, example);
    if (example->is_request) {
        MICRO_REQUIRE(http1_read_request(&editing->request, &editing->head, bytes, &why) == 0);
        return;
    }
    MICRO_REQUIRE(http1_read_response(&response, &editing->head, bytes, HTTP1_GET, &why));
    editing->persist = response.is_websocket ? HTTP1_PERSIST_UPGRADE : HTTP1_PERSIST_DEFAULT;
}

static size_t written_size(struct editing *editing)
{
    if (editing->example->is_request)
        return http1_write_request(editing->scratch, sizeof(editing->scratch), &editing->head,
                                   editing->example->bytes.data, &editing->request,
                                   &editing->forward);
    return http1_write_response(editing->scratch, sizeof(editing->scratch), &editing->head,
                                editing->example->bytes.data, editing->persist, false,
                                (struct lp_slice){0});
}

static void measure_example(struct micro *micro, struct editing *editing, const char *how)
{
    const struct example *example = editing->example;
    struct micro_work work = {example->is_request ? run_request : run_response, .context = editing,
                              .bytes = written_size(editing)};

    MICRO_REQUIRE(work.bytes > 0);
    micro_measure(micro, &work, "%s%s", example->name, how);
}

void micro_edit(struct micro *micro)
{
    struct editing *editing = lp_alloc(sizeof(*editing));

    editing->forward = (struct http1_forward){
        .client_ip = LP_SLICE("192.0.2.33"),
        .proto = LP_SLICE("http"),
        .request_id = LP_SLICE("5b0c2f1e9d8a47c6b3a2918070f5e4d3"),
        .real_ip = LP_SLICE("192.0.2.33"),
    };
    for (int i = 0; i < EXAMPLE_COUNT; i++) {
        take_example(editing, &examples()[i]);
        measure_example(micro, editing, "");
    }
    editing->forward.is_trusted = true;
    take_example(editing, &examples()[EXAMPLE_BEHIND_PROXY]);
    measure_example(micro, editing, ", trusted");
    editing->copies_back = true;
    take_example(editing, &examples()[EXAMPLE_CHROME]);
    measure_example(micro, editing, " and copied back");
    lp_free(editing);
}
