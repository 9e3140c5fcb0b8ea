/* Threads that share contexts: sessions begin on one and end on another. Worth running with the
 * thread sanitizer, too. */
#include "tests/unit/tls_pair.h"

#include <pthread.h>
#include <stdatomic.h>

#define VISITS 200u
#define PLACES 16u

static struct lp_tls_front *front;
static struct lp_tls_back *back;
/* Sessions that wait for somebody to speak with them once more and to free them. */
static _Atomic(struct pair *) market[PLACES];

static void leave(struct pair *pair)
{
    if (pair == NULL)
        return;
    seal(&pair->client, &pair->server, "from another thread", 19, 5000);
    expect_text(&pair->server, "from another thread");
    pair_free(pair);
    free(pair);
}

struct visitor {
    bool serves; /* with memory of its own */
    uint32_t resumed_count;
};

static void *visit_often(void *argument)
{
    struct visitor *visitor = argument;
    struct lp_tls_ticket *ticket = NULL;

    if (visitor->serves)
        lp_tls_thread_begin();
    for (uint32_t i = 0; i < VISITS; i++) {
        struct pair *pair = malloc(sizeof(*pair));
        struct lp_tls_facts facts;
        *pair = pair_of(front, back, ticket, "www.example.com");
        shake_hands(pair);
        lp_tls_facts(pair->server.tls, &facts);
        visitor->resumed_count += facts.is_resumed;
        seal(&pair->server, &pair->client, "come again", 10, 0);
        expect_text(&pair->client, "come again");
        struct lp_tls_ticket *next = lp_tls_take_ticket(pair->client.tls);
        if (next != NULL) {
            lp_tls_ticket_free(ticket);
            ticket = next;
        }
        leave(atomic_exchange(&market[i % PLACES], pair));
        if (i % 64 == 0)
            (void)lp_tls_trim();
    }
    lp_tls_ticket_free(ticket);
    if (visitor->serves)
        lp_tls_thread_end();
    return NULL;
}

static void two_threads_share_contexts_and_free_each_others_sessions(void **state)
{
    (void)state;
    for (uint32_t versions = LP_TLS_1_2; versions <= LP_TLS_1_3; versions++) {
        struct visitor visitors[] = {{.serves = true}, {.serves = true}};
        pthread_t threads[LP_COUNT_OF(visitors)];

        front = front_with((struct front_options){.versions = versions});
        back = back_with(trusting("www.example.com"));
        for (size_t i = 0; i < LP_COUNT_OF(threads); i++)
            assert_int_equal(pthread_create(&threads[i], NULL, visit_often, &visitors[i]), 0);
        for (size_t i = 0; i < LP_COUNT_OF(threads); i++) {
            pthread_join(threads[i], NULL);
            assert_int_equal(visitors[i].resumed_count, VISITS - 1);
        }
        for (size_t i = 0; i < PLACES; i++)
            leave(atomic_exchange(&market[i], NULL));
        lp_tls_front_destroy(front);
        lp_tls_back_destroy(back);
    }
}

static void a_context_goes_with_the_last_session_of_any_thread(void **state)
{
    struct visitor visitors[] = {{.serves = true}, {.serves = false}};
    pthread_t threads[LP_COUNT_OF(visitors)];

    (void)state;
    front = front_with((struct front_options){0});
    back = back_with(trusting("www.example.com"));
    for (size_t i = 0; i < LP_COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, visit_often, &visitors[i]), 0);
    for (size_t i = 0; i < LP_COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    lp_tls_front_destroy(front);
    lp_tls_back_destroy(back);
    for (size_t i = 0; i < PLACES; i++)
        leave(atomic_exchange(&market[i], NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_threads_share_contexts_and_free_each_others_sessions),
        cmocka_unit_test(a_context_goes_with_the_last_session_of_any_thread),
    };

    return cmocka_run_group_tests_name("tls threads", tests, make_folder, remove_folder);
}
