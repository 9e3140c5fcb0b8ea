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

static struct lp_slice take_line(struct lp_slice *text)
{
    const char *end = memchr(text->data, '\n', text->size);
    size_t size = end != NULL ? (size_t)(end - text->data) : text->size;
    struct lp_slice line = {text->data, size};

    size += end != NULL;
    text->data += size;
    text->size -= size;
    while (line.size > 0 && strchr(" \t\r", line.data[line.size - 1]) != NULL)
        line.size--;
    return line;
}

/* "-----BEGIN label-----" */
static bool is_boundary(struct lp_slice line, struct lp_slice begin, struct lp_slice *label)
{
    if (line.size < begin.size + 5 || memcmp(line.data, begin.data, begin.size) != 0 ||
        memcmp(line.data + line.size - 5, "-----", 5) != 0)
        return false;
    *label = (struct lp_slice){line.data + begin.size, line.size - begin.size - 5};
    return true;
}

enum pem_outcome pem_next(struct lp_slice *text, struct pem_block *out)
{
    struct lp_slice label;

    *out = (struct pem_block){0};
    do {
        if (text->size == 0)
            return PEM_END;
    } while (!is_boundary(take_line(text), LP_SLICE("-----BEGIN "), &out->label));

    out->body.data = text->data;
    while (text->size > 0) {
        const char *line_start = text->data;
        struct lp_slice line = take_line(text);

        if (is_boundary(line, LP_SLICE("-----END "), &label)) {
            out->body.size = (size_t)(line_start - out->body.data);
            return lp_slice_equal(label, out->label) ? PEM_BLOCK : PEM_BROKEN;
        }
        if (is_boundary(line, LP_SLICE("-----BEGIN "), &label))
            return PEM_BROKEN;
        /* RFC 1421, 4.6.1.1: "Proc-Type: 4,ENCRYPTED". */
        if (line.size > 9 && memcmp(line.data, "Proc-Type", 9) == 0)
            out->is_encrypted = true;
    }
    return PEM_BROKEN;
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
    if (is_pkcs12(file))
        return "is a PKCS#12 file, not PEM; convert it with \"openssl pkcs12 -nodes\"";
    if (der_take_tag(&rest, DER_SEQUENCE, &element) && rest.size == 0)
        return "is DER, not PEM; convert it with \"openssl x509 -inform der\" or "
               "\"openssl pkey -inform der\"";
    return memchr(file.data, 0, file.size) != NULL
               ? "is binary; PEM is needed, text that begins with \"-----BEGIN\""
               : "is not PEM; it has no line that begins with \"-----BEGIN\"";
}
