/* See crypto.h. */
#include "lb/net/crypto.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

struct crypto {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t has_work;
    struct crypto_job *first, *last;
    uint32_t jobs_count;
    bool is_stopping;
};

static void give_back(struct crypto_job *job)
{
    struct crypto_box *box = job->box; /* the job is not ours any more when it is in there */
    const uint64_t one = 1;

    job->next = atomic_load_explicit(&box->done, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&box->done, &job->next, job, memory_order_release,
                                                  memory_order_relaxed))
        continue;
    /* An eventfd that cannot take one more has woken the loop already. */
    ssize_t ignored = write(box->wake_fd, &one, sizeof(one));
    (void)ignored;
}

static struct crypto_job *next_job(struct crypto *crypto)
{
    pthread_mutex_lock(&crypto->lock);
    while (crypto->first == NULL && !crypto->is_stopping)
        pthread_cond_wait(&crypto->has_work, &crypto->lock);
    struct crypto_job *job = crypto->first;
    if (job != NULL) {
        crypto->first = job->next;
        crypto->jobs_count--;
    }
    pthread_mutex_unlock(&crypto->lock);
    return job;
}

static void *run(void *argument)
{
    struct crypto *crypto = argument;
    struct crypto_job *job;

    lp_tls_thread_begin();
    while ((job = next_job(crypto)) != NULL) {
        job->result = lp_tls_handshake(job->session, &job->wire);
        give_back(job);
    }
    lp_tls_thread_end();
    return NULL;
}

bool crypto_create(struct crypto **out, struct lp_err *err)
{
    struct crypto *crypto = lp_alloc(sizeof(*crypto));

    pthread_mutex_init(&crypto->lock, NULL);
    pthread_cond_init(&crypto->has_work, NULL);
    int error = pthread_create(&crypto->thread, NULL, run, crypto);
    if (error != 0) {
        lp_free(crypto);
        return lp_err_set(err, LP_ERR_SYSTEM, "cannot start the crypto thread: %s",
                          strerror(error));
    }
    *out = crypto;
    return true;
}

void crypto_destroy(struct crypto *crypto)
{
    if (crypto == NULL)
        return;
    pthread_mutex_lock(&crypto->lock);
    crypto->is_stopping = true;
    pthread_cond_signal(&crypto->has_work);
    pthread_mutex_unlock(&crypto->lock);
    pthread_join(crypto->thread, NULL);
    LP_ASSERT(crypto->first == NULL);
    pthread_cond_destroy(&crypto->has_work);
    pthread_mutex_destroy(&crypto->lock);
    lp_free(crypto);
}

bool crypto_submit(struct crypto *crypto, struct crypto_job *job)
{
    job->next = NULL;
    pthread_mutex_lock(&crypto->lock);
    bool has_room = crypto->jobs_count < LP_CRYPTO_JOBS_MAX;
    if (has_room) {
        if (crypto->first == NULL)
            crypto->first = job;
        else
            crypto->last->next = job;
        crypto->last = job;
        crypto->jobs_count++;
        pthread_cond_signal(&crypto->has_work);
    }
    pthread_mutex_unlock(&crypto->lock);
    return has_room;
}

struct crypto_job *crypto_collect(struct crypto_box *box)
{
    struct crypto_job *newest, *oldest = NULL;

    if (atomic_load_explicit(&box->done, memory_order_relaxed) == NULL)
        return NULL;
    newest = atomic_exchange_explicit(&box->done, NULL, memory_order_acquire);
    while (newest != NULL) {
        struct crypto_job *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}
