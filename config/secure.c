/* The tls sections of listeners and pools: what their values look like, and what they lack. Files
 * are only named here; tls/ opens them and says with lp_config_complain() what is wrong inside. */
#include "config/reader.h"

#include <string.h>

/* ---- values ---- */

void value_read_file(struct reader *r, const struct place *at, const struct schema_row *row,
                     void *target)
{
    struct lp_cfg_file *file = (struct lp_cfg_file *)((char *)target + row->offset);
    struct lp_slice path;

    if (!value_read_path(r, at, &path))
        return;
    *file = (struct lp_cfg_file){path, read_full_key(at, r->arena), at->node->pos};
}

/* What others call the versions, in letters of any case. */
static const struct version_word {
    const char *word;
    const char *version; /* NULL: one that is not spoken */
    uint32_t bit;
} version_words[] = {
    {"1.2", "1.2", LP_TLS_1_2},
    {"1.3", "1.3", LP_TLS_1_3},
    {"TLSv1.2", "1.2", 0},
    {"TLSv1.3", "1.3", 0},
    {"TLS1.2", "1.2", 0},
    {"TLS1.3", "1.3", 0},
    {"TLS 1.2", "1.2", 0},
    {"TLS 1.3", "1.3", 0},
    {"TLSv12", "1.2", 0},
    {"TLSv13", "1.3", 0},
    {"12", "1.2", 0},
    {"13", "1.3", 0},
    {"1.0", NULL, 0},
    {"1.1", NULL, 0},
    {"TLSv1", NULL, 0},
    {"TLSv1.0", NULL, 0},
    {"TLSv1.1", NULL, 0},
    {"SSLv3", NULL, 0},
    {"1", NULL, 0},
    {"SSLv2", NULL, 0},
};

/* Gives the bit, or 0 after an error. */
static uint32_t read_version(struct reader *r, const struct place *at)
{
    struct lp_slice text;

    if (!read_text(r, at, &text))
        return 0;
    for (uint32_t i = 0; i < LP_COUNT_OF(version_words); i++) {
        const struct version_word *known = &version_words[i];
        if (!lp_slice_equal_nocase(text, lp_slice_of(known->word)))
            continue;
        if (known->bit != 0)
            return known->bit;
        if (known->version != NULL)
            read_error(r, at, "\"%.*s\" is none of 1.2, 1.3; limpet says \"%s\"",
                       LP_SLICE_ARG(text), known->version);
        else
            read_error(r, at, "versions before TLS 1.2 are not safe and not spoken (RFC 8996)");
        return 0;
    }
    read_error(r, at, "\"%.*s\" is none of 1.2, 1.3", (int)(text.size > 64 ? 64 : text.size),
               text.data);
    return 0;
}

void value_read_tls_versions(struct reader *r, const struct place *at, const struct schema_row *row,
                             void *target)
{
    uint32_t count, versions = 0;
    struct node *node = read_items(r, at, &count);

    if (count == 0 && at->node->kind != NODE_BROKEN)
        read_error(r, at, "needs at least one of 1.2, 1.3");
    for (uint32_t i = 0; i < count; i++, node = node->next) {
        struct place item = place_of_item(at, node, i);
        uint32_t version = read_version(r, &item);
        if (version != 0 && (versions & version) != 0)
            read_error(r, &item, "stands in this list twice");
        versions |= version;
    }
    if (versions != 0)
        memcpy((char *)target + row->offset, &versions, sizeof(versions));
}

/* Gives the sentence, or NULL when this is what a certificate can name. */
static const char *problem_of_tls_name(struct lp_slice name)
{
    struct lp_ip ip;

    if (name.size == 0)
        return "needs the host name or IP address that the server's certificate has";
    if (lp_ip_parse(&ip, name))
        return NULL;
    if (memchr(name.data, '/', name.size) != NULL)
        return "only the name of the host, without scheme and path";
    if (name.data[0] == '[')
        return "an IPv6 address stands here without brackets";
    if (memchr(name.data, ':', name.size) != NULL)
        return "only the name of the host, without its port";
    if (memchr(name.data, '*', name.size) != NULL)
        return "is the name of one host; a certificate for \"*.example.com\" has it, too";
    return value_problem_of_name(name);
}

void value_read_tls_name(struct reader *r, const struct place *at, const struct schema_row *row,
                         void *target)
{
    struct lp_slice name;

    if (!read_text(r, at, &name))
        return;
    if (name.size > 1 && name.data[name.size - 1] == '.')
        name.size--;
    const char *problem = problem_of_tls_name(name);
    if (problem != NULL)
        read_error(r, at, "%s", problem);
    else
        *(struct lp_slice *)((char *)target + row->offset) = value_lower(r, name);
}

/* ---- what they mean together ---- */

static void check_certificates(struct reader *r, const struct place *tls)
{
    struct place certificates = place_of_key(tls, "certificates");
    uint32_t index = 0;

    if (certificates.node == NULL) {
        check_report_missing(r, tls, "certificates",
                             "TLS needs at least one: [{cert: site.pem, key: site.key}]");
        return;
    }
    if (certificates.node->kind != NODE_LIST)
        return;
    if (certificates.node->count == 0)
        read_error(r, &certificates,
                   "is empty; TLS needs at least one: [{cert: site.pem, key: site.key}]");
    for (struct node *node = certificates.node->first; node != NULL; node = node->next) {
        struct place item = place_of_item(&certificates, node, index++);
        if (!check_is_map(node))
            continue;
        if (node_find(node, "cert") == NULL)
            check_report_missing(r, &item, "cert", "the PEM file of the certificate");
        if (node_find(node, "key") == NULL)
            check_report_missing(r, &item, "key", "the PEM file of its private key");
    }
}

/* With client_ca there are no tickets: every client proves anew who it is. */
static void warn_of_random_tickets(struct reader *r, const struct place *tls)
{
    struct place tickets = place_of_key(tls, "tickets");

    if (node_find(tls->node, "client_ca") != NULL)
        return;
    if (tickets.node != NULL &&
        (!check_is_map(tickets.node) || node_find(tickets.node, "secret_file") != NULL))
        return;
    read_warning(r, tickets.node != NULL ? &tickets : tls,
                 "without tickets.secret_file the secret of tickets is random: clients resume a "
                 "session only with this process, not after a restart and not on another node");
}

void check_front_tls(struct reader *r, const struct place *listener_at,
                     const struct lp_cfg_listener *listener)
{
    struct place tls = place_of_key(listener_at, "tls");

    if (!check_is_map(tls.node))
        return;
    struct place hsts = place_of_key(&tls, "hsts");
    check_certificates(r, &tls);
    if (hsts.node != NULL && listener->tls.hsts_s > 0 && listener->protocol == LP_PROTOCOL_TCP)
        read_error_of_key(r, &hsts, NULL,
                          "is a header of HTTP responses; this listener has protocol tcp");
    warn_of_random_tickets(r, &tls);
}

/* A path in the file system is no name that a certificate could have. */
static void check_names_of_servers(struct reader *r, const struct place *tls,
                                   const struct lp_cfg_pool *pool)
{
    if (!pool->tls.verify || pool->tls.name.size > 0 || node_find(tls->node, "name") != NULL)
        return;
    for (uint32_t i = 0; i < pool->servers_count; i++) {
        if (pool->servers[i].address.size == 0 || lp_addr_port(&pool->servers[i].address) != 0)
            continue;
        check_report_missing(r, tls, "name",
                             "a server on a Unix socket has no address that its certificate could "
                             "name");
        return;
    }
}

void check_back_tls(struct reader *r, const struct place *pool_at, struct lp_cfg_pool *pool)
{
    struct place tls = place_of_key(pool_at, "tls");

    if (!check_is_map(tls.node))
        return;
    struct place verify = place_of_key(&tls, "verify"), ca = place_of_key(&tls, "ca");
    bool has_cert = node_find(tls.node, "cert") != NULL;
    bool has_key = node_find(tls.node, "key") != NULL;

    if (has_cert && !has_key)
        check_report_missing(r, &tls, "key", "a certificate goes with its private key");
    if (has_key && !has_cert)
        check_report_missing(r, &tls, "cert", "a private key goes with its certificate");
    check_names_of_servers(r, &tls, pool);
    if (!pool->tls.verify)
        read_warning(r, &verify,
                     "whoever answers at a server's address is believed, and reads and changes "
                     "what it likes");
    if (!pool->tls.verify && ca.node != NULL)
        read_warning(r, &ca, "has no effect beside verify: false");
    if (ca.node == NULL)
        pool->tls.ca = (struct lp_cfg_file){.path = LP_SLICE(""),
                                            .where = read_full_key(&tls, r->arena),
                                            .pos = tls.node->key->pos};
}
