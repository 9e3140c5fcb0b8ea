/* Keys: the bytes that are hashed, and their hash (HASHING, sections 2 to 4). */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "hash/hash.h"

#include <string.h>

uint64_t lp_hash_key(struct lp_slice key, uint64_t seed)
{
    return XXH3_64bits_withSeed(key.size > 0 ? key.data : "", key.size, seed);
}

uint64_t lp_hash_seed(struct lp_slice file)
{
    if (file.size > 0 && file.data[file.size - 1] == '\n')
        file.size--;
    return XXH3_64bits(file.size > 0 ? file.data : "", file.size);
}

uint32_t lp_hash_ip_key(uint8_t out[16], const struct lp_ip *ip, uint8_t ipv4_prefix,
                        uint8_t ipv6_prefix)
{
    if (ip->family == 0)
        return 0;
    uint32_t size = ip->family == 4 ? 4 : 16;
    uint32_t prefix = ip->family == 4 ? ipv4_prefix : ipv6_prefix;

    memcpy(out, ip->bytes, size);
    for (uint32_t i = 0; i < size; i++) {
        uint32_t bits = prefix > i * 8 ? prefix - i * 8 : 0; /* of this byte that count */
        if (bits < 8)
            out[i] &= (uint8_t)(0xff00u >> bits);
    }
    return size;
}
