/* Text files of certificates and keys. The blocks are found by hand and not by the library, because
 * we want to say what is wrong with a file, and where the library would pass over it. */
#include "tls/pem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tls/der.h"

/* --- files --- */

static bool read_open_file(struct lp_slice *out, int fd, const char *path, struct lp_err *err)
{
    struct stat found;

    if (fstat(fd, &found) != 0)
        return lp_err_set(err, LP_ERR_SYSTEM, "cannot read %s: %s", path, strerror(errno));
    if (S_ISDIR(found.st_mode))
        return lp_err_set(err, LP_ERR_CONFIG, "%s is a directory; a file is needed", path);
    if (!S_ISREG(found.st_mode))
        return lp_err_set(err, LP_ERR_CONFIG, "%s is no regular file", path);
    if (found.st_size == 0) {
        *out = (struct lp_slice){"", 0};
        return true;
    }
    if (found.st_size > (off_t)PEM_FILE_BYTES_MAX)
        return lp_err_set(err, LP_ERR_CONFIG, "%s has %lld bytes; at most %u are read", path,
                          (long long)found.st_size, PEM_FILE_BYTES_MAX);

    size_t size = 0, room = (size_t)found.st_size;
    char *bytes = lp_alloc(room);

    while (size < room) {
        ssize_t got = read(fd, bytes + size, room - size);

        if (got == 0 || (got < 0 && errno != EINTR)) {
            pem_free_file((struct lp_slice){bytes, room});
            return lp_err_set(err, LP_ERR_SYSTEM, "cannot read %s: %s", path,
                              got == 0 ? "it shrank meanwhile" : strerror(errno));
        }
        size += got > 0 ? (size_t)got : 0;
    }
    *out = (struct lp_slice){bytes, size};
    return true;
}

bool pem_read_file(struct lp_slice *out, const char *path, struct lp_err *err)
{
    /* Opening a pipe would wait for its writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return lp_err_set(err, LP_ERR_SYSTEM, "cannot read %s: %s", path, strerror(errno));

    bool done = read_open_file(out, fd, path, err);

    close(fd);
    return done;
}

void pem_free_file(struct lp_slice file)
{
    char *bytes = (char *)(uintptr_t)file.data;

    if (file.size == 0)
        return;
    explicit_bzero(bytes, file.size);
    lp_free(bytes);
}

/* --- blocks --- */

#define BYTE_ORDER_MARK                                                                            \
    "\xef\xbb\xbf" /* in UTF-8; before a line in the middle, too: files are joined */

static bool begins_with(struct lp_slice text, struct lp_slice what)
{
    return text.size >= what.size && memcmp(text.data, what.data, what.size) == 0;
}

static bool holds(struct lp_slice text, struct lp_slice what)
{
    return memmem(text.data, text.size, what.data, what.size) != NULL;
}

/* Lines end as on Unix, Windows or an old Macintosh; blanks around them mean nothing. */
static struct lp_slice take_line(struct lp_slice *text)
{
    struct lp_slice line = {text->data, 0};

    while (line.size < text->size && line.data[line.size] != '\n' && line.data[line.size] != '\r')
        line.size++;

    size_t taken = line.size + (line.size < text->size);

    text->data += taken;
    text->size -= taken;
    while (line.size > 0 && (begins_with(line, LP_SLICE(BYTE_ORDER_MARK)) || line.data[0] == ' ' ||
                             line.data[0] == '\t')) {
        size_t blank = line.data[0] == BYTE_ORDER_MARK[0] ? strlen(BYTE_ORDER_MARK) : 1;
        line.data += blank;
        line.size -= blank;
    }
    while (line.size > 0 && (line.data[line.size - 1] == ' ' || line.data[line.size - 1] == '\t'))
        line.size--;
    return line;
}

/* "-----BEGIN label-----" */
static bool is_boundary(struct lp_slice line, struct lp_slice begin, struct lp_slice *label)
{
    if (line.size < begin.size + 5 || !begins_with(line, begin) ||
        memcmp(line.data + line.size - 5, "-----", 5) != 0)
        return false;
    *label = (struct lp_slice){line.data + begin.size, line.size - begin.size - 5};
    return !holds(*label, LP_SLICE("--"));
}

/* Was meant as a boundary, but is none, or none that is expected here. */
static bool is_like_boundary(struct lp_slice line)
{
    static const char *const words[] = {"--BEGIN", "--END", "-- BEGIN",          "-- END",
                                        "BEGIN--", "END--", "BEGIN CERTIFICATE", "END CERTIFICATE"};

    for (size_t i = 0; i < LP_COUNT_OF(words); i++)
        if (holds(line, lp_slice_of(words[i])))
            return true;
    return false;
}

/* Anything may stand between blocks, but for what was meant as part of one. */
static bool is_lost(struct lp_slice line)
{
    return is_like_boundary(line) ||
           (line.size >= 60 && begins_with(line, LP_SLICE("MII")) && !holds(line, LP_SLICE(" ")));
}

enum pem_outcome pem_next(struct lp_slice *text, struct pem_block *out)
{
    struct lp_slice label, line = {NULL, 0};

    *out = (struct pem_block){0};
    do {
        if (line.size > 0 && is_lost(line)) {
            out->stray = line;
            return PEM_BROKEN;
        }
        if (text->size == 0)
            return PEM_END;
        line = take_line(text);
    } while (!is_boundary(line, LP_SLICE("-----BEGIN "), &out->label));

    out->body.data = text->data;
    while (text->size > 0) {
        const char *line_start = text->data;

        line = take_line(text);
        if (is_boundary(line, LP_SLICE("-----END "), &label)) {
            out->body.size = (size_t)(line_start - out->body.data);
            return lp_slice_equal(label, out->label) ? PEM_BLOCK : PEM_BROKEN;
        }
        if (is_like_boundary(line))
            return PEM_BROKEN;
        /* RFC 1421, 4.6.1.1: "Proc-Type: 4,ENCRYPTED". */
        if (line.size > 9 && memcmp(line.data, "Proc-Type", 9) == 0)
            out->is_encrypted = true;
    }
    return PEM_BROKEN;
}

bool pem_check(enum pem_outcome outcome, const struct pem_block *block, const char *path,
               struct lp_err *err)
{
    static const char *const unread[] = {"TRUSTED CERTIFICATE", "PKCS7", "PKCS #7 SIGNED DATA",
                                         "CMS", "X509 CRL"};
    size_t shown = block->stray.size < 40 ? block->stray.size : 40;

    if (outcome == PEM_BROKEN && block->stray.size > 0)
        return lp_err_set(err, LP_ERR_CONFIG,
                          "%s: \"%.*s%s\" belongs to no block; each is between a line "
                          "\"-----BEGIN ...-----\" and a line \"-----END ...-----\"",
                          path, (int)shown, block->stray.data,
                          shown < block->stray.size ? "..." : "");
    if (outcome == PEM_BROKEN)
        return lp_err_set(err, LP_ERR_CONFIG, "%s: the block %.*s has no line that ends it", path,
                          LP_SLICE_ARG(block->label));
    for (size_t i = 0; outcome == PEM_BLOCK && i < LP_COUNT_OF(unread); i++)
        if (lp_slice_equal(block->label, lp_slice_of(unread[i])))
            return lp_err_set(err, LP_ERR_CONFIG,
                              "%s: what is in a block %s is not read; certificates have to be "
                              "blocks CERTIFICATE (\"openssl x509\", \"openssl pkcs7 "
                              "-print_certs\")",
                              path, unread[i]);
    return true;
}

bool pem_is_certificate(const struct pem_block *block)
{
    return lp_slice_equal(block->label, LP_SLICE("CERTIFICATE")) ||
           lp_slice_equal(block->label, LP_SLICE("X509 CERTIFICATE"));
}

bool pem_is_key(const struct pem_block *block)
{
    struct lp_slice end = LP_SLICE("PRIVATE KEY");

    return block->label.size >= end.size &&
           memcmp(block->label.data + block->label.size - end.size, end.data, end.size) == 0;
}

bool pem_decode(struct lp_slice *out, const struct pem_block *block, struct lp_arena *arena)
{
    char *letters = lp_alloc(block->body.size + 1);
    size_t letters_count = 0;

    for (size_t i = 0; i < block->body.size; i++)
        if (strchr(" \t\r\n", block->body.data[i]) == NULL || block->body.data[i] == '\0')
            letters[letters_count++] = block->body.data[i];

    char *bytes = lp_arena_alloc(arena, 3 * letters_count / 4 + 3);
    size_t size = lp_base64_decode(bytes, (struct lp_slice){letters, letters_count});

    explicit_bzero(letters, letters_count);
    lp_free(letters);
    *out = (struct lp_slice){bytes, size};
    return size != SIZE_MAX && size > 0;
}

/* PKCS#12 begins with a SEQUENCE whose first element is the INTEGER 3. */
static bool is_pkcs12(struct lp_slice der)
{
    struct lp_slice body, version;

    return der_open(&der, DER_SEQUENCE, &body) && der_open(&body, DER_INTEGER, &version) &&
           lp_slice_equal(version, LP_SLICE("\x03"));
}

const char *pem_describe(struct lp_slice file)
{
    struct der_element element;
    struct lp_slice rest = file;

    if (file.size == 0)
        return "is empty";
    if (memmem(file.data, file.size, "-----BEGIN", strlen("-----BEGIN")) != NULL)
        return "holds blocks of another kind";
    if (begins_with(file, LP_SLICE("\xff\xfe")) || begins_with(file, LP_SLICE("\xfe\xff")))
        return "is text in UTF-16; save it as UTF-8 or ASCII";
    if (is_pkcs12(file))
        return "is a PKCS#12 file, not PEM; convert it with \"openssl pkcs12 -nodes\"";
    if (der_take_tag(&rest, DER_SEQUENCE, &element) && rest.size == 0)
        return "is DER, not PEM; convert it with \"openssl x509 -inform der\" or "
               "\"openssl pkey -inform der\"";
    return memchr(file.data, 0, file.size) != NULL
               ? "is binary; PEM is needed, text that begins with \"-----BEGIN\""
               : "is not PEM; it has no line that begins with \"-----BEGIN\"";
}
