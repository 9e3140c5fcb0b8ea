/* Certificates that clients and servers send us, and files of an operator: whatever the bytes are,
 * reading ends inside them, and what goes into a header line is visible ASCII.
 *
 * The input is taken for a certificate, for a Name, for an OCSP response and for a PEM file in
 * turn, each time as a copy of exactly its size, so that the address sanitizer sees one byte too
 * far. */
#include <stdlib.h>
#include <string.h>

#include "tls/pem.h"
#include "tls/staple.h"
#include "tls/subject.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(struct lp_slice name)
{
    char text[SUBJECT_BYTES_MAX];
    size_t size = subject_write(text, name);

    if (size == SIZE_MAX)
        return;
    LP_ASSERT(size <= sizeof(text));
    for (size_t i = 0; i < size; i++)
        LP_ASSERT(text[i] >= 0x20 && text[i] < 0x7f);
}

/* Parts of a certificate are within it. */
static void check_part(struct lp_slice whole, struct lp_slice part)
{
    LP_ASSERT(part.size == 0 ||
              (part.data >= whole.data && part.data + part.size <= whole.data + whole.size));
}

static void check_certificate(struct lp_slice bytes)
{
    struct x509 read;
    struct x509_name name;
    struct lp_slice common_name;

    (void)certificate_is_for(bytes, LP_SLICE("192.0.2.1"));
    (void)certificate_is_for(bytes, LP_SLICE("www.example.com"));
    if (!x509_read(&read, bytes))
        return;
    check_part(bytes, read.serial);
    check_part(bytes, read.key);
    check_part(bytes, read.names);
    check_text(read.subject);
    check_text(read.issuer);
    if (x509_common_name(&read, &common_name))
        check_part(bytes, common_name);
    while (x509_next_name(&read.names, &name)) {
        check_part(bytes, name.value);
        /* A name covers itself, unless there is no host of that name. */
        if (!name.is_ip && name.value.data[name.value.size - 1] != '.' && name.value.data[0] != '.')
            LP_ASSERT(x509_name_covers(name.value, name.value));
    }
}

static void check_staple(struct lp_slice bytes, struct lp_arena *arena)
{
    /* Whom the corpus is about: number 2001 of "CN=middle,O=limpet tests". */
    struct x509 leaf = {
        .serial = LP_SLICE("\x20\x01"),
        .issuer = LP_SLICE("\x30\x28\x31\x15\x30\x13\x06\x03\x55\x04\x0a\x0c\x0climpet tests"
                           "\x31\x0f\x30\x0d\x06\x03\x55\x04\x03\x0c\x06middle"),
    };
    struct staple staple;
    struct lp_err err;

    if (staple_read(&staple, bytes, &leaf, NULL, 1800000000, arena, &err) == STAPLE_GOOD)
        LP_ASSERT(lp_slice_equal(staple.response, bytes));
}

static void check_pem(struct lp_slice bytes, struct lp_arena *arena)
{
    struct lp_slice rest = bytes, der;
    struct pem_block block;

    while (pem_next(&rest, &block) == PEM_BLOCK) {
        check_part(bytes, block.body);
        if (pem_decode(&der, &block, arena))
            check_certificate(der);
    }
    if (bytes.size > 0)
        (void)pem_describe(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + 1);
    struct lp_arena arena;

    LP_ASSERT(copy != NULL);
    /* One byte in front instead of behind: an empty input must not be a NULL pointer. */
    memcpy(copy + 1, data, size);

    struct lp_slice bytes = {copy + 1, size};

    lp_arena_init(&arena);
    check_certificate(bytes);
    check_text(bytes);
    check_staple(bytes, &arena);
    check_pem(bytes, &arena);
    lp_arena_deinit(&arena);
    free(copy);
    return 0;
}
