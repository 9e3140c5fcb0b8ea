/* The values of the opening handshake (RFC 6455, 4) and the codes of the closing one. Which request
 * asks for a tunnel, and which answer makes it one, is decided in lb/http and lb/proxy. */
#include "lb/ws/ws.h"

#include <string.h>

#define KEY_BYTES 16u /* RFC 6455, 4.1: the nonce behind a key */

void ws_accept(char out[WS_ACCEPT_SIZE], struct lp_slice key)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455, 1.3 */
    char text[WS_KEY_SIZE + sizeof(guid) - 1];
    uint8_t digest[LP_SHA1_BYTES];

    LP_ASSERT(key.size == WS_KEY_SIZE);
    memcpy(text, key.data, WS_KEY_SIZE);
    memcpy(text + WS_KEY_SIZE, guid, sizeof(guid) - 1);
    lp_sha1(digest, (struct lp_slice){text, sizeof(text)});
    size_t size = lp_base64_encode(out, digest, sizeof(digest));
    LP_ASSERT(size == WS_ACCEPT_SIZE);
}

void ws_make_key(char out[WS_KEY_SIZE])
{
    uint8_t nonce[KEY_BYTES];

    lp_random(nonce, sizeof(nonce));
    size_t size = lp_base64_encode(out, nonce, sizeof(nonce));
    LP_ASSERT(size == WS_KEY_SIZE);
}

bool ws_key_is_valid(struct lp_slice key)
{
    uint8_t nonce[3 * WS_KEY_SIZE / 4];

    if (key.size != WS_KEY_SIZE)
        return false;
    return lp_base64_decode(nonce, key) == KEY_BYTES;
}

bool ws_close_code_is_sendable(uint16_t code)
{
    if (code >= 3000 && code <= 4999)
        return true; /* Libraries' and applications' own. */
    if (code == 1004 || code == 1005 || code == 1006)
        return false;                    /* Reserved, and words for what was not on the wire. */
    return code >= 1000 && code <= 1014; /* 1012..1014 came later, by IANA's registry. */
}
