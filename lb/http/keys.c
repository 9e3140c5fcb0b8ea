/* keys: finds the parts of a request that clients are told apart by: a cookie, a query parameter,
 * the address behind trusted proxies (HASHING.md, section 2). */
#include <string.h>

#include "lb/http/fields.h"

/* Splits off what stands before the next separator. False at the end (data is NULL then). */
static bool next_part(struct lp_slice *rest, struct lp_slice *part, char separator)
{
    const char *mark;

    if (rest->size == 0)
        return false;
    mark = memchr(rest->data, separator, rest->size);
    *part = (struct lp_slice){rest->data, mark != NULL ? (size_t)(mark - rest->data) : rest->size};
    rest->data += part->size;
    rest->size -= part->size;
    if (rest->size != 0) {
        rest->data++;
        rest->size--;
    }
    return true;
}

/* Is part "name=..."? Then *value is what follows. */
static bool value_of(struct lp_slice *value, struct lp_slice part, struct lp_slice name)
{
    if (part.size <= name.size || part.data[name.size] != '=' ||
        memcmp(part.data, name.data, name.size) != 0)
        return false;
    *value = (struct lp_slice){part.data + name.size + 1, part.size - name.size - 1};
    return true;
}

bool http1_cookie(struct lp_slice *out, const struct http1_head *head, const char *bytes,
                  struct lp_slice name)
{
    for (uint32_t i = 0; i < head->fields_count; i++) {
        struct lp_slice rest, part;

        if (head->fields[i].name != HTTP1_COOKIE)
            continue;
        rest = http1_value(&head->fields[i], bytes);
        while (next_part(&rest, &part, ';')) {
            if (!value_of(out, lp_slice_trim(part), name))
                continue;
            *out = lp_slice_trim(*out);
            return out->size != 0;
        }
    }
    return false;
}

bool http1_query(struct lp_slice *out, struct lp_slice query, struct lp_slice name)
{
    struct lp_slice part;

    while (next_part(&query, &part, '&'))
        if (value_of(out, part, name))
            return out->size != 0;
    return false;
}

static bool is_trusted(const struct lp_ip *ip, const struct lp_cidr *trusted,
                       uint32_t trusted_count)
{
    for (uint32_t i = 0; i < trusted_count; i++)
        if (lp_cidr_contains(&trusted[i], ip))
            return true;
    return false;
}

/* "a.b.c.d", "a.b.c.d:port", "v6", "[v6]", "[v6]:port". */
static bool parse_element(struct lp_ip *out, struct lp_slice text)
{
    struct lp_slice ip = text, behind = {"", 0};
    const char *mark;

    if (text.size == 0)
        return false;
    if (text.data[0] == '[') {
        mark = memchr(text.data, ']', text.size);
        if (mark == NULL)
            return false;
        ip = (struct lp_slice){text.data + 1, (size_t)(mark - text.data) - 1};
        behind = (struct lp_slice){mark + 1, text.size - ip.size - 2};
        if (memchr(ip.data, ':', ip.size) == NULL)
            return false;
    } else {
        mark = memchr(text.data, ':', text.size);
        if (mark != NULL && memchr(text.data, '.', (size_t)(mark - text.data)) != NULL) {
            ip = (struct lp_slice){text.data, (size_t)(mark - text.data)};
            behind = (struct lp_slice){mark, text.size - ip.size};
        }
    }
    if (behind.size != 0 && (behind.data[0] != ':' || !http1_port_is_valid((struct lp_slice){
                                                          behind.data + 1, behind.size - 1})))
        return false;
    return lp_ip_parse(out, ip);
}

/* Walks the elements of one field from the right. True while the walk may go on to the field
 * before; *client is the last good address. */
static bool walk_field(struct lp_ip *client, struct lp_slice value, const struct lp_cidr *trusted,
                       uint32_t trusted_count)
{
    bool is_first = false;

    while (!is_first) {
        const char *comma = value.size == 0 ? NULL : memrchr(value.data, ',', value.size);
        size_t start = comma == NULL ? 0 : (size_t)(comma + 1 - value.data);
        struct lp_ip ip;

        if (!parse_element(
                &ip, lp_slice_trim((struct lp_slice){value.data + start, value.size - start})))
            return false;
        *client = ip;
        if (!is_trusted(&ip, trusted, trusted_count))
            return false;
        is_first = comma == NULL;
        if (!is_first)
            value.size = start - 1;
    }
    return true;
}

struct lp_ip http1_client_ip(const struct lp_ip *peer, const struct http1_head *head,
                             const char *bytes, const struct lp_cidr *trusted,
                             uint32_t trusted_count)
{
    struct lp_ip client = *peer;

    if (peer->family == 0 || !is_trusted(peer, trusted, trusted_count))
        return client;
    for (uint32_t i = head->fields_count; i-- > 0;)
        if (head->fields[i].name == HTTP1_X_FORWARDED_FOR &&
            !walk_field(&client, http1_value(&head->fields[i], bytes), trusted, trusted_count))
            break;
    return client;
}

struct lp_slice http1_host_name(struct lp_slice host)
{
    if (host.size > 0 && host.data[0] == '[') {
        const char *end = memchr(host.data, ']', host.size);
        if (end != NULL)
            host.size = (size_t)(end - host.data) + 1;
        return host;
    }
    const char *colon = host.size == 0 ? NULL : memchr(host.data, ':', host.size);
    if (colon != NULL)
        host.size = (size_t)(colon - host.data);
    if (host.size > 0 && host.data[host.size - 1] == '.')
        host.size--;
    return host;
}
