/* The library is given what one recv() of ours brought, not the socket: so a response costs one
 * call of the kernel, as it does without TLS. What it has taken of a record that is not whole it
 * keeps. */
#include "bench/load/secure.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <wolfssl/wolfcrypt/settings.h>

#include <wolfssl/ssl.h>

#include "bench/load/load.h"

#define WIRE_BYTES 65536u /* of one recv() */
#define SEND_BYTES 65536u /* given to the library at once */

/* It opens into LOAD_BUFFER_BYTES what came, and what it had kept of one record. */
_Static_assert(WIRE_BYTES + 32768u <= LOAD_BUFFER_BYTES, "all that can come out fits");

struct secure {
    WOLFSSL_CTX *context;
    int group;
    const char *version, *suite;
    /* While a call is under way: what it may take, and where its bytes go. */
    const char *wire;
    size_t wire_size;
    int fd;
    int send_errno;
    char buffer[WIRE_BYTES];
};

static const struct {
    const char *name;
    int group;
} groups[] = {
    {"X25519", WOLFSSL_ECC_X25519},
    {"P-256", WOLFSSL_ECC_SECP256R1},
    {"X25519MLKEM768", WOLFSSL_X25519MLKEM768},
};

static int group_of(const char *name)
{
    for (size_t i = 0; i < LP_COUNT_OF(groups); i++)
        if (strcmp(groups[i].name, name) == 0)
            return groups[i].group;
    return 0;
}

bool secure_has_group(const char *name)
{
    return group_of(name) != 0;
}

/* ---- What all share ---- */

static int on_receive(WOLFSSL *ssl, char *out, int size, void *argument)
{
    struct secure *secure = argument;
    size_t n = secure->wire_size < (size_t)size ? secure->wire_size : (size_t)size;

    (void)ssl;
    if (n == 0)
        return WOLFSSL_CBIO_ERR_WANT_READ;
    memcpy(out, secure->wire, n);
    secure->wire += n;
    secure->wire_size -= n;
    return (int)n;
}

static int on_send(WOLFSSL *ssl, char *data, int size, void *argument)
{
    struct secure *secure = argument;
    ssize_t n = send(secure->fd, data, (size_t)size, MSG_NOSIGNAL);

    (void)ssl;
    if (n >= 0)
        return (int)n;
    secure->send_errno = errno;
    return errno == EAGAIN ? WOLFSSL_CBIO_ERR_WANT_WRITE : WOLFSSL_CBIO_ERR_CONN_RST;
}

/* One suite and one group: whatever a server prefers, all do the same work. */
static bool set_up(struct secure *secure)
{
    WOLFSSL_CTX *context = secure->context;

    wolfSSL_CTX_set_verify(context, WOLFSSL_VERIFY_NONE, NULL);
    (void)wolfSSL_CTX_set_session_cache_mode(context, WOLFSSL_SESS_CACHE_OFF);
    wolfSSL_CTX_SetIORecv(context, on_receive);
    wolfSSL_CTX_SetIOSend(context, on_send);
    return wolfSSL_CTX_set_cipher_list(context, "TLS13-AES128-GCM-SHA256") == WOLFSSL_SUCCESS &&
           wolfSSL_CTX_set_groups(context, &secure->group, 1) == WOLFSSL_SUCCESS &&
           wolfSSL_CTX_UseSessionTicket(context) == WOLFSSL_SUCCESS &&
           wolfSSL_CTX_UseSNI(context, WOLFSSL_SNI_HOST_NAME, "localhost", 9) == WOLFSSL_SUCCESS;
}

bool secure_create(struct load *load, struct lp_err *err)
{
    struct secure *secure = load->secure = lp_alloc(sizeof(*secure));

    secure->group = group_of(load->options->group);
    if (wolfSSL_Init() == WOLFSSL_SUCCESS)
        secure->context = wolfSSL_CTX_new(wolfTLSv1_3_client_method());
    return (secure->context != NULL && set_up(secure)) ||
           lp_err_set(err, LP_ERR_SYSTEM, "--tls: the library cannot be set up");
}

void secure_destroy(struct load *load)
{
    if (load->secure == NULL)
        return;
    wolfSSL_CTX_free(load->secure->context);
    lp_free(load->secure);
    load->secure = NULL;
}

const char *secure_version(const struct load *load)
{
    return load->secure != NULL ? load->secure->version : NULL;
}

const char *secure_suite(const struct load *load)
{
    return load->secure != NULL ? load->secure->suite : NULL;
}

/* ---- One session ---- */

static int on_ticket(WOLFSSL *ssl, const unsigned char *ticket, int size, void *argument)
{
    struct conn *conn = argument;

    (void)ssl;
    (void)ticket;
    conn->has_ticket = size > 0;
    return 0;
}

/* A copy, because the library writes into a session that it resumes; without another ticket from
 * the server that one could not be resumed again, but the one it was copied from can. */
static bool resume(const struct conn *conn)
{
    WOLFSSL_SESSION *copy = wolfSSL_SESSION_dup(conn->session);
    bool is_set = wolfSSL_set_session(conn->ssl, copy) == WOLFSSL_SUCCESS;

    wolfSSL_SESSION_free(copy);
    return is_set;
}

bool secure_open(struct load *load, struct conn *conn)
{
    struct secure *secure = load->secure;
    WOLFSSL *ssl = conn->ssl = wolfSSL_new(secure->context);

    conn->is_ended = conn->has_ticket = false;
    if (ssl == NULL)
        return false;
    wolfSSL_SetIOReadCtx(ssl, secure);
    wolfSSL_SetIOWriteCtx(ssl, secure);
    (void)wolfSSL_set_SessionTicket_cb(ssl, on_ticket, conn);
    return wolfSSL_UseKeyShare(ssl, (word16)secure->group) == WOLFSSL_SUCCESS &&
           (conn->session == NULL || resume(conn));
}

/* One recv() for the library. False with errno set when there is nothing for it; errno is 0 at the
 * end. */
static bool fetch(struct secure *secure, const struct conn *conn, size_t size, bool *is_all)
{
    if (size > WIRE_BYTES)
        size = WIRE_BYTES;
    ssize_t n = recv(conn->fd, secure->buffer, size, 0);
    *is_all = n < (ssize_t)size;
    if (n <= 0) {
        errno = n == 0 ? 0 : errno;
        return false;
    }
    secure->wire = secure->buffer;
    secure->wire_size = (size_t)n;
    return true;
}

static void begin_call(struct secure *secure, const struct conn *conn)
{
    secure->fd = conn->fd;
    secure->send_errno = 0;
    secure->wire_size = 0; /* what one call left, no other may take */
}

/* What a call's answer means as errno. */
static int errno_of(const struct secure *secure, const struct conn *conn, int code)
{
    int error = wolfSSL_get_error(conn->ssl, code);

    if (error == WOLFSSL_ERROR_WANT_READ || error == WOLFSSL_ERROR_WANT_WRITE)
        return EAGAIN;
    return secure->send_errno != 0 ? secure->send_errno : EPROTO;
}

static void on_done(struct load *load, struct conn *conn)
{
    load->tally.handshakes++;
    load->tally.resumed += wolfSSL_session_reused(conn->ssl) != 0;
    load->secure->version = wolfSSL_get_version(conn->ssl);
    load->secure->suite = wolfSSL_get_cipher(conn->ssl);
}

enum secure_result secure_handshake(struct load *load, struct conn *conn)
{
    struct secure *secure = load->secure;
    bool is_all = false;

    begin_call(secure, conn);
    for (;;) {
        int code = wolfSSL_connect(conn->ssl);
        if (code == WOLFSSL_SUCCESS)
            break;
        errno = errno_of(secure, conn, code);
        if (errno != EAGAIN)
            return SECURE_FAILED;
        if (is_all)
            return SECURE_AGAIN;
        if (!fetch(secure, conn, WIRE_BYTES, &is_all)) {
            if (errno == EAGAIN)
                return SECURE_AGAIN;
            if (errno == 0)
                errno = EPIPE; /* the end, in the middle of it */
            return SECURE_FAILED;
        }
    }
    on_done(load, conn);
    /* No server of ours speaks before it knows that the client is done. */
    errno = EPROTO;
    return secure->wire_size == 0 ? SECURE_DONE : SECURE_FAILED;
}

ssize_t secure_send(struct load *load, struct conn *conn, const char *data, size_t size)
{
    struct secure *secure = load->secure;

    begin_call(secure, conn);
    int code = wolfSSL_write(conn->ssl, data, (int)(size < SEND_BYTES ? size : SEND_BYTES));
    if (code > 0)
        return code;
    errno = errno_of(secure, conn, code);
    return -1;
}

/* Opens all that was fetched. False when it is no proper TLS. */
static bool open_all(struct conn *conn, char *data, size_t *size)
{
    for (;;) {
        int code = wolfSSL_read(conn->ssl, data + *size, (int)(LOAD_BUFFER_BYTES - *size));
        if (code > 0) {
            *size += (size_t)code;
            continue;
        }
        int error = wolfSSL_get_error(conn->ssl, code);
        conn->is_ended = error == WOLFSSL_ERROR_ZERO_RETURN; /* close_notify */
        return conn->is_ended || error == WOLFSSL_ERROR_WANT_READ;
    }
}

ssize_t secure_receive(struct load *load, struct conn *conn, char *data, size_t size, bool *is_all)
{
    struct secure *secure = load->secure;
    size_t opened = 0;

    begin_call(secure, conn);
    *is_all = false;
    if (conn->is_ended)
        return 0;
    while (opened == 0) {
        if (*is_all) {
            errno = EAGAIN; /* what came had no bytes for us */
            return -1;
        }
        if (!fetch(secure, conn, size, is_all))
            return errno == 0 ? 0 : -1;
        if (!open_all(conn, data, &opened)) {
            errno = EPROTO;
            return -1;
        }
        if (conn->is_ended) {
            *is_all = false; /* the end is told next */
            return (ssize_t)opened;
        }
    }
    return (ssize_t)opened;
}

void secure_close(const struct load *load, struct conn *conn)
{
    if (load->options->resumes && conn->has_ticket) {
        secure_forget(conn);
        conn->session = wolfSSL_get1_session(conn->ssl);
    }
    wolfSSL_free(conn->ssl);
    conn->ssl = NULL;
}

void secure_forget(struct conn *conn)
{
    wolfSSL_SESSION_free(conn->session);
    conn->session = NULL;
}
