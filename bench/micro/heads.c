/* The heads themselves. Written for this benchmark; every name and value in them is made up. */
#include "bench/micro/heads.h"

#include <stdio.h>
#include <string.h>

#include "bench/micro/micro.h"

#define COOKIES_COUNT      14
#define COOKIE_VALUE_BYTES 256

static const char curl[] = "GET /api/v1/items?page=2 HTTP/1.1\r\n"
                           "Host: api.example.com\r\n"
                           "User-Agent: curl/8.5.0\r\n"
                           "Accept: */*\r\n"
                           "\r\n";

static const char chrome[] =
    "GET /shop/articles/4711?ref=start&color=dark%20blue HTTP/1.1\r\n"
    "Host: www.example.com\r\n"
    "Connection: keep-alive\r\n"
    "sec-ch-ua: \"Chromium\";v=\"128\", \"Not;A=Brand\";v=\"24\", \"Google Chrome\";v=\"128\"\r\n"
    "sec-ch-ua-mobile: ?0\r\n"
    "sec-ch-ua-platform: \"Linux\"\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/128.0.0.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,"
    "image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Sec-Fetch-User: ?1\r\n"
    "Sec-Fetch-Dest: document\r\n"
    "Referer: https://www.example.com/shop/\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n"
    "Cookie: session=9f86d081884c7d659a2feaa0c55ad015; theme=dark; consent=1.1.0.1725000000\r\n"
    "\r\n";

static const char firefox_websocket[] =
    "GET /ws/chat?room=lobby HTTP/1.1\r\n"
    "Host: chat.example.com\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    "Accept: */*\r\n"
    "Accept-Language: en-US,en;q=0.5\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Sec-WebSocket-Version: 13\r\n"
    "Origin: https://chat.example.com\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate\r\n"
    "Sec-WebSocket-Key: q4xkcO32u266gldTuKaSOw==\r\n"
    "Connection: keep-alive, Upgrade\r\n"
    "Cookie: session=9f86d081884c7d659a2feaa0c55ad015\r\n"
    "Sec-Fetch-Dest: empty\r\n"
    "Sec-Fetch-Mode: websocket\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Pragma: no-cache\r\n"
    "Cache-Control: no-cache\r\n"
    "Upgrade: websocket\r\n"
    "\r\n";

static const char socket_io[] =
    "POST /socket.io/?EIO=4&transport=polling&t=P7pZ4Yw&sid=Zk3v0mVbQ8p1sTqXAAAB HTTP/1.1\r\n"
    "Host: live.example.com\r\n"
    "Connection: keep-alive\r\n"
    "Content-Length: 58\r\n"
    "User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, "
    "like Gecko) Version/17.5 Safari/605.1.15\r\n"
    "Content-type: text/plain;charset=UTF-8\r\n"
    "Accept: */*\r\n"
    "Origin: https://www.example.com\r\n"
    "Referer: https://www.example.com/\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en-US,en;q=0.9\r\n"
    "Cookie: io=Zk3v0mVbQ8p1sTqXAAAB; AWSALB=mDm7rP3d4vJq1f2b8x0cK5n6hT9yL1aE7uW3oZ2i\r\n"
    "\r\n";

/* Before its cookies, and behind them. */
static const char cookies_begin[] =
    "GET /account/orders HTTP/1.1\r\n"
    "Host: www.example.com\r\n"
    "Connection: keep-alive\r\n"
    "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/128.0.0.0 Safari/537.36 Edg/128.0.0.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: de-DE,de;q=0.9\r\n"
    "Cookie: ";

static const char cookies_end[] = "session=9f86d081884c7d659a2feaa0c55ad015\r\n\r\n";

static const char health_check[] = "GET /healthz HTTP/1.1\r\n"
                                   "Host: 10.1.2.3:8080\r\n"
                                   "User-Agent: kube-probe/1.30\r\n"
                                   "Accept: */*\r\n"
                                   "Connection: close\r\n"
                                   "\r\n";

static const char behind_proxy[] =
    "POST /v2/events HTTP/1.1\r\n"
    "Host: ingest.example.com\r\n"
    "X-Request-ID: 3f1c9a52c0de4b7fa1f0d2b94e6c8a71\r\n"
    "X-Real-IP: 203.0.113.77\r\n"
    "X-Forwarded-For: 203.0.113.77, 198.51.100.9\r\n"
    "X-Forwarded-Host: ingest.example.com\r\n"
    "X-Forwarded-Port: 443\r\n"
    "X-Forwarded-Proto: https\r\n"
    "X-Forwarded-Scheme: https\r\n"
    "X-Scheme: https\r\n"
    "Content-Length: 512\r\n"
    "User-Agent: okhttp/4.12.0\r\n"
    "Accept: application/json\r\n"
    "Content-Type: application/json; charset=utf-8\r\n"
    "Authorization: Bearer eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI0NzExIiwiZXhwIjoxNzI1MD"
    "AwMDAwfQ.MEUCIQDx0uT9vY4bE8wQv1k7m2n3c5r6t8yAhGfJkLzXqWpRsAIgQ2l9o0iUyTrEwQaSdFgHjKlZxCv\r\n"
    "Accept-Encoding: gzip\r\n"
    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
    "\r\n";

static const char json_response[] = "HTTP/1.1 200 OK\r\n"
                                    "Content-Type: application/json; charset=utf-8\r\n"
                                    "Content-Length: 1534\r\n"
                                    "ETag: W/\"5fe-Qm9vYmFyQmF6UXV4Q29yZ2U\"\r\n"
                                    "Vary: Origin, Accept-Encoding\r\n"
                                    "Access-Control-Allow-Credentials: true\r\n"
                                    "Cache-Control: private, max-age=0, must-revalidate\r\n"
                                    "X-RateLimit-Limit: 1000\r\n"
                                    "X-RateLimit-Remaining: 987\r\n"
                                    "Date: Tue, 03 Sep 2024 10:15:30 GMT\r\n"
                                    "Connection: keep-alive\r\n"
                                    "Keep-Alive: timeout=5\r\n"
                                    "\r\n";

static const char file_response[] = "HTTP/1.1 200 OK\r\n"
                                    "Server: nginx/1.26.2\r\n"
                                    "Date: Tue, 03 Sep 2024 10:15:30 GMT\r\n"
                                    "Content-Type: text/css\r\n"
                                    "Content-Length: 48123\r\n"
                                    "Last-Modified: Mon, 02 Sep 2024 08:00:00 GMT\r\n"
                                    "Connection: keep-alive\r\n"
                                    "ETag: \"66d56f80-bbfb\"\r\n"
                                    "Expires: Wed, 03 Sep 2025 10:15:30 GMT\r\n"
                                    "Cache-Control: max-age=31536000, public\r\n"
                                    "Accept-Ranges: bytes\r\n"
                                    "\r\n";

static const char switching[] = "HTTP/1.1 101 Switching Protocols\r\n"
                                "Upgrade: websocket\r\n"
                                "Connection: Upgrade\r\n"
                                "Sec-WebSocket-Accept: fA9dggdnMPU79lJgAE3W4TRnyDM=\r\n"
                                "\r\n";

#define TEXT(array)                                                                                \
    {                                                                                              \
        array, sizeof(array) - 1                                                                   \
    }

static struct example all[EXAMPLE_COUNT] = {
    [EXAMPLE_CURL] = {"curl", true, TEXT(curl)},
    [EXAMPLE_CHROME] = {"Chrome page", true, TEXT(chrome)},
    [EXAMPLE_FIREFOX_WEBSOCKET] = {"Firefox WebSocket", true, TEXT(firefox_websocket)},
    [EXAMPLE_SOCKET_IO] = {"Socket.IO polling", true, TEXT(socket_io)},
    [EXAMPLE_COOKIES] = {"large cookies", true, {NULL, 0}},
    [EXAMPLE_HEALTH_CHECK] = {"health check", true, TEXT(health_check)},
    [EXAMPLE_BEHIND_PROXY] = {"API behind a proxy", true, TEXT(behind_proxy)},
    [EXAMPLE_JSON_RESPONSE] = {"JSON response", false, TEXT(json_response)},
    [EXAMPLE_FILE_RESPONSE] = {"file response", false, TEXT(file_response)},
    [EXAMPLE_SWITCHING] = {"101 response", false, TEXT(switching)},
};

/* "id03=<letters of base64>; " several times, then the session. */
static struct lp_slice make_cookies(void)
{
    static char made[sizeof(cookies_begin) + sizeof(cookies_end) +
                     COOKIES_COUNT * (COOKIE_VALUE_BYTES + 16)];
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint64_t state = 1;
    size_t size = sizeof(cookies_begin) - 1;

    memcpy(made, cookies_begin, size);
    for (int i = 0; i < COOKIES_COUNT; i++) {
        size += (size_t)snprintf(made + size, sizeof(made) - size, "id%02d=", i);
        for (int b = 0; b < COOKIE_VALUE_BYTES; b++)
            made[size++] = letters[micro_random(&state) & 63];
        made[size++] = ';';
        made[size++] = ' ';
    }
    memcpy(made + size, cookies_end, sizeof(cookies_end) - 1);
    return (struct lp_slice){made, size + sizeof(cookies_end) - 1};
}

const struct example *examples(void)
{
    if (all[EXAMPLE_COOKIES].bytes.data == NULL)
        all[EXAMPLE_COOKIES].bytes = make_cookies();
    return all;
}

void example_parse(struct http1_head *head, const struct example *example)
{
    enum http1_outcome outcome;
    const char *why = NULL;

    http1_head_init(head, LP_HEAD_BYTES_MAX, 100);
    if (example->is_request)
        outcome = http1_parse_request(head, example->bytes.data, example->bytes.size, &why);
    else
        outcome = http1_parse_response(head, example->bytes.data, example->bytes.size, &why);
    MICRO_REQUIRE(outcome == HTTP1_DONE && head->size == example->bytes.size);
}
