/* The library's headers, for the files of tls/ only. */
#ifndef LP_TLS_WOLFSSL_H
#define LP_TLS_WOLFSSL_H

#include <wolfssl/wolfcrypt/settings.h>

#include <wolfssl/ssl.h>

#endif
