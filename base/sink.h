/* sink: one thread that writes lines to one descriptor, so that no other thread waits for it.
 *
 * A reader that sleeps, a stopped terminal, a slow or full disk: only this thread has to do with
 * it, and tries again until it works. Lines stay meanwhile where they come from (a feed), which has
 * bounded room, and drops and counts what is too much. A line arrives whole: the rest of one that a
 * full disk has cut comes before everything else. Two feeds of one file share a sink, so that their
 * lines never mix. */
#ifndef LP_BASE_SINK_H
#define LP_BASE_SINK_H

#include "base/err.h"
#include "base/macros.h"

/* PIPE_BUF: a pipe takes a write of this size whole or not at all. */
#define LP_SINK_LINE_MAX  4096u
#define LP_SINK_FEEDS_MAX 2u

struct lp_sink;

struct lp_sink_feed {
    int wake_fd;        /* a non-blocking eventfd, written to when lines wait */
    uint32_t gather_ms; /* so long the first wake-up waits for more lines, or for a second one */
    /* Called on the sink's thread, must not wait: gives whole lines, their bytes and at most room
     * (which is never less than LP_SINK_LINE_MAX), and forgets them. */
    size_t (*take)(struct lp_sink_feed *feed, char *out, size_t room);
};

/* Gives a sink that writes to fd; -1 throws lines away. Takes an fd that is_owned; of another it
 * makes a descriptor of its own, since others may have set that one as they need it. */
bool lp_sink_create(struct lp_sink **out, int fd, bool is_owned, struct lp_err *err) LP_MUST_USE;
/* Is it the file, pipe or terminal that fd is? */
bool lp_sink_writes_to(const struct lp_sink *sink, int fd);
/* Tries at once what it could not write: there may be room now. */
void lp_sink_retry(struct lp_sink *sink);
/* Keeps the feed until it is moved away or the sink ends. */
void lp_sink_add(struct lp_sink *sink, struct lp_sink_feed *feed);
/* From now on the feed's lines go to another sink, also those that the old one tries in vain to
 * write. */
void lp_sink_move(struct lp_sink_feed *feed, struct lp_sink *from, struct lp_sink *to);
/* Waits at most wait_ms until everything is written that feeds have now. */
void lp_sink_flush(struct lp_sink *sink, uint32_t wait_ms);
/* The feed is not touched any more. */
void lp_sink_remove(struct lp_sink *sink, const struct lp_sink_feed *feed);
/* Why lines cannot be written just now; 0: they can, as far as anybody knows. */
int lp_sink_error(struct lp_sink *sink);
/* Writes what its feeds still have, and waits for that at most wait_ms; with 0 what is left is
 * tried for another second without us. Its feeds are not touched any more. Gives how many lines it
 * had taken and could not write. */
uint32_t lp_sink_end(struct lp_sink *sink, uint32_t wait_ms);

#endif
