/* See ports.h. */
#include "lb/net/ports.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <unistd.h>

#define TCP_LISTEN_STATE 10

/* Addresses as IPv6 has them: IPv4 ones are mapped. */
struct place {
    struct in6_addr ip;
    bool is_ipv4, takes_ipv4;
};

static struct place place_of(int family, const void *ip, bool takes_ipv4)
{
    struct place place = {.takes_ipv4 = takes_ipv4};

    if (family == AF_INET6) {
        memcpy(&place.ip, ip, sizeof(place.ip));
    } else {
        place.ip.s6_addr[10] = place.ip.s6_addr[11] = 0xff;
        memcpy(&place.ip.s6_addr[12], ip, 4);
    }
    place.is_ipv4 = IN6_IS_ADDR_V4MAPPED(&place.ip);
    return place;
}

static struct place place_of_address(const struct lp_addr *address, bool takes_ipv4)
{
    return address->as.any.sa_family == AF_INET6
               ? place_of(AF_INET6, &address->as.in6.sin6_addr, takes_ipv4)
               : place_of(AF_INET, &address->as.in.sin_addr, false);
}

static bool is_any(const struct place *place)
{
    return place->is_ipv4 ? memcmp(&place->ip.s6_addr[12], "\0\0\0\0", 4) == 0
                          : IN6_IS_ADDR_UNSPECIFIED(&place->ip);
}

static bool overlap(const struct place *a, const struct place *b)
{
    if (a->is_ipv4 != b->is_ipv4) {
        const struct place *wide = a->is_ipv4 ? b : a;
        return is_any(wide) && wide->takes_ipv4;
    }
    return is_any(a) || is_any(b) || IN6_ARE_ADDR_EQUAL(&a->ip, &b->ip);
}

bool ports_covers(const struct lp_addr *wide, bool wide_takes_ipv4, const struct lp_addr *narrow)
{
    if (wide->as.any.sa_family == AF_UNIX || narrow->as.any.sa_family == AF_UNIX ||
        lp_addr_port(wide) != lp_addr_port(narrow))
        return false;
    struct place a = place_of_address(wide, wide_takes_ipv4);
    struct place b = place_of_address(narrow, false);
    if (!is_any(&a))
        return IN6_ARE_ADDR_EQUAL(&a.ip, &b.ip);
    return a.is_ipv4 == b.is_ipv4 || (b.is_ipv4 && a.takes_ipv4);
}

static struct place place_of_message(const struct inet_diag_msg *message, size_t size)
{
    bool is_ipv6_only = false;
    size_t left = size - NLMSG_ALIGN(sizeof(*message));
    const char *at = (const char *)message + NLMSG_ALIGN(sizeof(*message));

    while (left >= sizeof(struct rtattr)) {
        struct rtattr attribute;
        memcpy(&attribute, at, sizeof(attribute));
        if (attribute.rta_len < sizeof(attribute) || attribute.rta_len > left)
            break;
        if (attribute.rta_type == INET_DIAG_SKV6ONLY && attribute.rta_len > RTA_LENGTH(0))
            is_ipv6_only = at[RTA_LENGTH(0)] != 0;
        size_t step = RTA_ALIGN(attribute.rta_len);
        at += step;
        left = left > step ? left - step : 0;
    }
    return place_of(message->idiag_family, message->id.idiag_src, !is_ipv6_only);
}

static bool ask(int fd, int family, uint16_t port)
{
    struct {
        struct nlmsghdr head;
        struct inet_diag_req_v2 body;
    } request = {
        .head = {.nlmsg_len = sizeof(request),
                 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .body = {.sdiag_family = (uint8_t)family,
                 .sdiag_protocol = IPPROTO_TCP,
                 .idiag_states = 1u << TCP_LISTEN_STATE,
                 .id = {.idiag_sport = htons(port)}},
    };

    return send(fd, &request, sizeof(request), 0) == (ssize_t)sizeof(request);
}

struct question {
    struct place wanted;
    uint16_t port;
    bool (*is_ours)(const void *context, uint32_t inode);
    const void *context;
};

static enum ports_answer judge(const struct question *question, struct nlmsghdr *head)
{
    const struct inet_diag_msg *found = NLMSG_DATA(head);

    if (head->nlmsg_len < NLMSG_LENGTH(sizeof(*found)) ||
        ntohs(found->id.idiag_sport) != question->port)
        return PORTS_NOBODY;
    struct place place = place_of_message(found, head->nlmsg_len - NLMSG_HDRLEN);
    if (!overlap(&question->wanted, &place))
        return PORTS_NOBODY;
    return question->is_ours(question->context, found->idiag_inode) ? PORTS_OURS : PORTS_STRANGER;
}

/* Reads a whole answer. */
static enum ports_answer hear(int fd, const struct question *question)
{
    _Alignas(struct nlmsghdr) char bytes[16384];
    enum ports_answer answer = PORTS_NOBODY;

    for (;;) {
        ssize_t got = recv(fd, bytes, sizeof(bytes), 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return PORTS_UNKNOWN;
        size_t left = (size_t)got;
        for (struct nlmsghdr *head = (struct nlmsghdr *)(void *)bytes; NLMSG_OK(head, left);
             head = NLMSG_NEXT(head, left)) {
            if (head->nlmsg_type == NLMSG_DONE)
                return answer;
            if (head->nlmsg_type == NLMSG_ERROR)
                return PORTS_UNKNOWN;
            enum ports_answer one = judge(question, head);
            answer = one > answer ? one : answer;
        }
    }
}

enum ports_answer ports_who_listens(const struct lp_addr *address, bool takes_ipv4,
                                    bool (*is_ours)(const void *context, uint32_t inode),
                                    const void *context)
{
    static const int families[] = {AF_INET, AF_INET6};
    struct question question = {.wanted = place_of_address(address, takes_ipv4),
                                .port = lp_addr_port(address),
                                .is_ours = is_ours,
                                .context = context};
    enum ports_answer answer = PORTS_NOBODY;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

    if (fd < 0)
        return PORTS_UNKNOWN;
    for (unsigned i = 0; i < LP_COUNT_OF(families); i++) {
        enum ports_answer one =
            ask(fd, families[i], question.port) ? hear(fd, &question) : PORTS_UNKNOWN;
        answer = one > answer ? one : answer;
    }
    close(fd);
    return answer;
}
