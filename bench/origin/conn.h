/* conn: one accepted connection of the origin, and what all of them share.
 *
 * Bytes are read into one hot buffer, understood there (http.h, ws.h), answered into another hot
 * buffer, and sent with one call. A connection owns memory only while something is cut: the first
 * part of a request head, or an answer that the socket did not take whole. Such an answer also
 * stops the reading, so a client that does not read holds nothing but its own socket buffers. */
#ifndef BENCH_ORIGIN_CONN_H
#define BENCH_ORIGIN_CONN_H

#include <string.h>

#include "base/base.h"
#include "bench/origin/wheel.h"

#define HEAD_BYTES_MAX 32768u /* a longer request head is answered 400 */
#define READ_BYTES     65536u /* of one read, behind what was held back */
#define IN_BYTES       (HEAD_BYTES_MAX + READ_BYTES)
#define ANSWERS_BYTES  32768u /* of pipelined answers before they are sent */
#define OUT_BYTES      (IN_BYTES + 2 * ANSWERS_BYTES) /* answers, then what a WebSocket echoes */
/* The body of /bytes/N repeats after a prime number of bytes: whoever swaps or drops a buffer of
 * any usual size shifts the pattern and is found out. */
#define PATTERN_BYTES 65521u

enum conn_state {
    CONN_HEAD,    /* a request head is to come, or the rest of it                  */
    CONN_BODY,    /* body_left bytes of a request's body are to come               */
    CONN_CHUNKED, /* the same with chunk in the place of body_left                 */
    CONN_DELAY,   /* the answer waits for the timer                                */
    CONN_BYTES,   /* body_left bytes of the pattern are to be sent                 */
    CONN_EVENTS,  /* an event at each tick of the timer, without end               */
    CONN_WS,      /* echoes frames; ws                                             */
    CONN_ECHO,    /* echoes bytes                                                  */
    CONN_ENDING,  /* takes no more requests; ends when everything is sent          */
    CONN_LINGER,  /* our FIN is sent, bytes are dropped until theirs or a deadline */
};

enum chunk_phase { CHUNK_SIZE, CHUNK_EXTENSION, CHUNK_DATA, CHUNK_END, CHUNK_TRAILER };

struct conn_chunk {
    uint64_t left;
    enum chunk_phase phase;
    uint32_t count; /* digits of the size, bytes of the end or of the trailer line */
};

struct conn_ws {
    uint64_t left;      /* of the payload under way */
    uint32_t mask;      /* turned so that its first byte belongs to the next byte */
    uint8_t header[14]; /* of the frame under way */
    uint8_t header_size;
    bool is_in_payload;
    bool is_in_message; /* between the fragments of one */
};

enum answer { ANSWER_TEXT, ANSWER_BYTES, ANSWER_COUNT, ANSWER_EVENTS, ANSWER_DELAY };

struct conn {
    struct timer timer; /* of CONN_DELAY, CONN_EVENTS and CONN_LINGER */
    int fd;
    uint32_t interest; /* what epoll was told */
    enum conn_state state;
    enum answer answer; /* to the request under way */
    bool is_tcp;
    bool keeps_alive;
    bool is_http10;
    bool is_head;    /* HEAD: the answer has no body */
    bool lingers;    /* ends with shutdown and waiting: the client may still be sending */
    uint64_t number; /* of /bytes/N, /delay/MS, every= */
    uint32_t event_size;
    uint64_t body_count; /* bytes of the request's body so far */
    uint64_t body_left;
    union {
        struct conn_chunk chunk;
        struct conn_ws ws;
    };
    char *held_in; /* read, but not understood yet; NULL when nothing */
    size_t held_in_size;
    char *held_out; /* answered, but not sent yet; NULL when nothing */
    size_t held_out_at, held_out_size;
};

struct origin {
    int epoll_fd;
    bool is_tcp_echo;
    bool read_was_full; /* the last read filled its buffer: the socket may hold more */
    struct lp_arena *arena;
    struct wheel wheel;
    struct lp_list free_conns; /* by timer.link */
    size_t out_size;
    char *in, *out, *pattern; /* pattern: twice PATTERN_BYTES */
};

/* Keeps arena. */
void origin_init(struct origin *origin, bool is_tcp_echo, struct lp_arena *arena);

/* Takes the descriptor; false when epoll refuses it. */
bool conn_begin(struct origin *origin, int fd, bool is_tcp);
void conn_on_event(struct origin *origin, struct conn *conn, uint32_t events);
void conn_on_timer(struct timer *timer, void *origin);

/* Room for size bytes of answer; they count at once. */
static inline char *out_reserve(struct origin *origin, size_t size)
{
    LP_ASSERT(size <= OUT_BYTES - origin->out_size);
    char *at = origin->out + origin->out_size;
    origin->out_size += size;
    return at;
}

static inline void out_put(struct origin *origin, struct lp_slice text)
{
    memcpy(out_reserve(origin, text.size), text.data, text.size);
}

#endif
