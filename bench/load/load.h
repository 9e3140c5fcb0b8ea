/* load: the types that the load generator's files share.
 *
 * One thread, one epoll. A *unit* is what is counted: a request, an echo, an event. A *connection*
 * is a place that always has at most one socket and at most one unit; a *mode* says what a unit is.
 * engine.c decides when units begin and when the window is; conn.c opens, reads, writes and
 * replaces sockets; the mode's file knows its protocol. */
#ifndef LOAD_LOAD_H
#define LOAD_LOAD_H

#include <stdio.h>

#include "base/base.h"
#include "bench/load/frames.h"
#include "bench/load/hist.h"
#include "bench/load/response.h"
#include "bench/load/sample.h"
#include "bench/load/secure.h"

#define LOAD_OPENING_MAX     256u       /* connects in flight; a listener's backlog holds them */
#define LOAD_RETRY_NS        10000000u  /* at most one connect per connection in this time */
#define LOAD_TICK_NS         10000000u  /* how often a tenth of the connections is looked at */
#define LOAD_TICKS           10u        /* so that each is looked at every 100 ms */
#define LOAD_ATTEMPTS_MAX    3u         /* connects before the window until one is given up */
#define LOAD_BUFFER_BYTES    262144u    /* the hot buffer all connections read into */
#define LOAD_BUCKET_NS       100000000u /* of the timeline */
#define LOAD_CONNECTIONS_MAX 1000000u
#define LOAD_STATUS_MAX      1000u /* numbers of three digits */
#define LOAD_CODES_MAX       5000u /* Close codes that are told apart; others count as the last */

/* clang-format off */
/*    name       word in the results */
#define LOAD_ERRORS(X)                                                                             \
    X(CONNECT,   "connect")  /* no socket, no port, no route                    */                 \
    X(REFUSED,   "refused")                                                                        \
    X(TIMEOUT,   "timeout")  /* no end in time, of a connect or of a unit       */                 \
    X(RESET,     "reset")                                                                          \
    X(CLOSED,    "closed")   /* FIN in the middle of a unit                     */                 \
    X(STATUS,    "status")   /* a whole response, but not the expected one      */                 \
    X(PROTOCOL,  "protocol") /* a response or an echo that is wrong             */                 \
    X(TLS,       "tls")      /* a handshake or a record that is wrong           */
/* clang-format on */

#define LOAD_ERROR_ENUM(name, word) LOAD_ERR_##name,
enum load_error { LOAD_ERRORS(LOAD_ERROR_ENUM) LOAD_ERROR_COUNT };

const char *load_error_word(enum load_error error);

/* How an idle WebSocket ended during the hold. */
enum load_ending { LOAD_END_CLOSE_FRAME, LOAD_END_FIN, LOAD_END_RESET, LOAD_ENDING_COUNT };

struct options {
    const struct mode *mode;
    struct lp_addr to;
    const char *to_text;
    const char *path; /* NULL: the mode's own */
    const char *host;
    struct lp_cidr source; /* family 0: the kernel chooses */
    uint32_t connections;
    uint64_t size; /* UINT64_MAX: not given */
    uint64_t window_ns, warmup_ns, hold_ns, timeout_ns;
    uint64_t rate; /* units per second over all connections; 0: closed loop */
    const int32_t *pids;
    uint32_t pids_count;
    bool has_timeline;
    bool has_json;
    bool has_tls;
    bool resumes;      /* TLS sessions */
    const char *group; /* of the key exchange */
};

/* Bytes to send: a head, then body_size bytes that nobody looks at. */
struct message {
    char *head;
    uint64_t head_size;
    uint64_t body_size;
};

enum conn_state {
    CONN_CLOSED,     /* no socket; in load.waiting, in load.ready, or given up  */
    CONN_CONNECTING, /* the connect is under way                                */
    CONN_OPENING,    /* connected; an upgrade or an event stream is asked for   */
    CONN_READY,      /* could take a unit                                       */
    CONN_BUSY,       /* a unit is under way                                     */
    CONN_ENDING,     /* the unit has all it needs but the other side's FIN      */
};

struct conn {
    int fd;
    uint32_t generation; /* grows with each open and close: late events find no stranger */
    uint32_t index;
    uint8_t state;    /* enum conn_state */
    uint8_t attempts; /* failed connects before the window */
    bool is_again;    /* in load.again: there was more to do than one turn allows */
    bool is_given_up;
    bool has_sent_close; /* a Close frame */
    uint32_t sequence;   /* of its units, so that an old echo is not taken for a new one */
    uint64_t start_ns;   /* of the unit: the intended moment when there is a rate */
    uint64_t end_ns;     /* while CONN_ENDING: when the last byte of the unit had come */
    uint64_t since_ns;   /* what the timeout is counted from */
    uint64_t connect_ns; /* of the last connect() */
    uint64_t sent;       /* bytes of message */
    const struct message *message; /* NULL: nothing to write */
    struct lp_list place;          /* in load.ready or load.waiting */
    struct conn *again_next;
    uint64_t discard;                /* bytes to come that nobody looks at */
    uint64_t echoed;                 /* bytes of the unit that came back */
    char *control;                   /* a control frame that waits for a message to be sent */
    struct WOLFSSL *ssl;             /* NULL without TLS */
    struct WOLFSSL_SESSION *session; /* the last one, to be resumed */
    bool is_ended;                   /* TLS: close_notify has come */
    bool has_ticket;                 /* TLS: the session is a new one, and can be resumed */
    struct response response;
    union {
        struct frames frames;
        struct {
            uint64_t stamp;    /* digits so far */
            uint32_t position; /* in the line */
            bool is_stamp;     /* the line is one, as far as it came */
            bool is_data;
            bool has_stamp; /* one of the event's lines was it */
        } event;
    };
};

/* What happened in 100 ms. */
struct bucket {
    uint32_t units;
    uint32_t errors;
    uint64_t max_ns;
    uint32_t endings[LOAD_ENDING_COUNT];
};

/* What is counted in the window; set to zero where it begins. */
struct tally {
    uint64_t units;
    uint64_t bytes_in, bytes_out;
    uint64_t reopened;
    uint64_t errors[LOAD_ERROR_COUNT];
    uint64_t statuses[LOAD_STATUS_MAX]; /* of the unexpected ones */
    uint64_t endings[LOAD_ENDING_COUNT];
    uint64_t codes[LOAD_CODES_MAX];
    uint64_t echo_failed;
    uint64_t handshakes, resumed; /* of TLS; the resumed ones are handshakes, too */
    struct hist latency;
};

enum phase {
    PHASE_OPENING, /* connections are made, no units yet              */
    PHASE_WARMUP,  /* units, not counted; idle: quiet                 */
    PHASE_WINDOW,  /* what is measured                                */
    PHASE_ECHO,    /* idle only: one echo over each connection left   */
    PHASE_END,
};

struct load {
    const struct options *options;
    const struct mode *mode;
    struct conn *conns;
    int epoll, signals;
    enum phase phase;
    uint64_t now_ns; /* of the loop: for what needs no exact moment */

    struct lp_list ready;   /* connections that could take a unit, the one longest ready first */
    struct lp_list waiting; /* closed ones to be opened */
    struct conn *again;
    uint32_t opening_count; /* CONNECTING or OPENING */
    uint32_t open_count;    /* READY, BUSY or ENDING */
    uint32_t given_up_count;
    uint64_t connects;          /* ever begun */
    uint64_t connected;         /* of these, answered */
    enum load_error last_error; /* why nothing could be measured, when so */
    int last_errno;
    bool is_interrupted; /* by a signal */

    uint64_t window_ns;
    uint64_t phase_end_ns; /* planned */
    uint64_t window_begin_ns, window_end_ns;
    uint64_t opening_end_ns; /* unless more connections open until then */
    uint32_t opening_best;
    uint32_t opened_count;                     /* when the window began */
    uint32_t echoes_busy;                      /* PHASE_ECHO */
    uint64_t schedule_begin_ns, schedule_next; /* rate: the unit that is due next */
    uint64_t next_tick_ns, next_refresh_ns;
    uint32_t tick;

    uint64_t size;          /* of a unit's payload or body */
    uint64_t expected_body; /* of responses; UINT64_MAX: any */
    struct message request, opener;
    char *payload;       /* of an echo, unmasked */
    uint32_t payload_at; /* where it begins in request.head */
    uint32_t mask;       /* of WebSocket frames, as it stands in them */
    char accept[28];     /* Sec-WebSocket-Accept that is right */
    char *buffer;        /* read into, by all connections */
    char *body;          /* what is sent as the body of a message */

    struct secure *secure; /* NULL without TLS */

    struct tally tally;
    struct bucket *timeline; /* NULL: not asked for */
    uint32_t timeline_room;
    uint64_t unfinished; /* units due or under way when the window ended */
    uint64_t unfinished_max_ns;

    struct sample_set samples;
    uint64_t own_cpu_ns; /* of this program, in the window */
};

/* What a unit is. Functions that are NULL are not needed by the mode. */
struct mode {
    const char *name;
    const char *about; /* for the help */
    uint64_t size;     /* --size when not given */
    bool takes_rate;
    bool is_one_unit_per_connection; /* a unit begins with a connect */
    bool is_idle;                    /* the window is a hold, behind it comes one echo each */
    bool is_stream;                  /* the other side begins units */
    bool has_progress;               /* units may take long: the timeout is a time without a byte */
    bool reads_by_itself;            /* while a unit is under way, in on_tick() */
    int receive_buffer_bytes;        /* of the socket; 0: the kernel's choice */
    bool (*setup)(struct load *load, struct lp_err *err);
    void (*on_open)(struct load *load, struct conn *conn); /* connected */
    void (*begin)(struct load *load, struct conn *conn);   /* a unit; start_ns is set */
    void (*on_head)(struct load *load, struct conn *conn); /* of a response */
    void (*stamp)(struct load *load, struct conn *conn);   /* makes the shared message its own */
    /* Bytes came; data is NULL for those of conn.discard. */
    void (*on_data)(struct load *load, struct conn *conn, char *data, size_t size);
    void (*on_body)(struct load *load, struct conn *conn, struct lp_slice piece);
    bool (*is_right)(const struct load *load, const struct conn *conn); /* a whole response */
    void (*on_fin)(struct load *load, struct conn *conn);
    /* Instead of conn_fail(), when it answers true. */
    bool (*on_lost)(struct load *load, struct conn *conn, enum load_error error);
    void (*on_tick)(struct load *load, struct conn *conn); /* every 100 ms while open */
};

extern const struct mode mode_http, mode_close, mode_ws, mode_churn, mode_idle, mode_sse, mode_down,
    mode_up, mode_slow, mode_tcp;

/* ---- engine.c: phases and units ---- */

/* Runs all phases. False with err set when nothing could be measured. */
bool load_run(struct load *load, struct lp_err *err) LP_MUST_USE;
/* The connection can take a unit from now on: the next one that is due, or later. */
void load_ready(struct load *load, struct conn *conn);
/* It waited to be opened, and may be. */
void load_revive(struct load *load, struct conn *conn);

/* ---- tally.c: counting ---- */

/* A unit took from begin_ns to end_ns. */
void load_count(struct load *load, uint64_t begin_ns, uint64_t end_ns);
void load_count_error(struct load *load, enum load_error error);
/* Which status it was; beside the error. */
void load_count_status(struct load *load, uint32_t status);
/* An idle WebSocket ended during the hold. */
void load_count_ending(struct load *load, enum load_ending ending, uint32_t code);
/* Of units that were due or under way when the window ended. */
void load_count_unfinished(struct load *load, uint64_t begin_ns, uint64_t units);

/* ---- conn.c: sockets ---- */

void conn_init(struct load *load, struct conn *conn, uint32_t index);
void conn_open(struct load *load, struct conn *conn);
/* Closes and counts nothing; the caller says what becomes of it. */
void conn_close(struct load *load, struct conn *conn);
/* Closes for good. */
void conn_deinit(struct load *load, struct conn *conn);
/* Ends the unit or the connect under way with an error; the connection will be replaced. */
void conn_fail(struct load *load, struct conn *conn, enum load_error error);
/* The other side ended in good order between two units; the connection will be replaced. */
void conn_reopen(struct load *load, struct conn *conn);
/* Closes, and has the connection opened again in due time. */
void conn_replace(struct load *load, struct conn *conn);
void conn_enter(struct load *load, struct conn *conn, enum conn_state state);
/* Begins to send; false when the connection failed meanwhile. */
bool conn_send(struct load *load, struct conn *conn, const struct message *message);
/* A masked control frame, after the message under way. Borrows payload, at most 125 bytes. */
void conn_send_control(struct load *load, struct conn *conn, uint8_t opcode, const uint8_t *payload,
                       uint8_t size);
/* Reads at most bytes_max now. */
void conn_read(struct load *load, struct conn *conn, size_t bytes_max);
void conn_on_event(struct load *load, struct conn *conn, uint32_t events);
/* Writes and reads on where one turn's share was used up. */
void conn_go_on(struct load *load);
/* Opens waiting connections as far as time and LOAD_OPENING_MAX allow. Gives when to come back. */
uint64_t conn_open_waiting(struct load *load, uint64_t now_ns);

/* ---- echo.c: payloads that come back ---- */

/* Makes load.request: head, then load.size bytes masked with load.mask. */
void echo_build(struct load *load, const char *head, size_t head_size);
/* The first 8 bytes of a payload say to which connection and unit it belongs. */
void echo_stamp(struct load *load, struct conn *conn);
void echo_begin(struct load *load, struct conn *conn);
/* More of it came back. False when it is not what was sent. */
bool echo_take(struct load *load, struct conn *conn, struct lp_slice piece);

/* ---- http.c, shared by the modes that ask by HTTP ---- */

/* "METHOD path HTTP/1.1", Host, more lines (each with CRLF) and the empty line. */
void http_request(struct load *load, struct message *out, const char *method, const char *path,
                  const char *more);
void http_begin(struct load *load, struct conn *conn);
void http_on_data(struct load *load, struct conn *conn, char *data, size_t size);
void http_on_fin(struct load *load, struct conn *conn);

/* ---- report.c ---- */

void report_text(const struct load *load, FILE *out);
void report_json(const struct load *load, FILE *out);

#endif
