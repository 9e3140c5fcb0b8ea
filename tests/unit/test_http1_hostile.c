/* http1: hostile and odd messages, each with the status that it must meet. Every row is read whole
 * and byte by byte, always right before a page that cannot be read. */
#include "lb/http/http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/guard.h"

#define OK         0    /* goes on to the server, or to the client                       */
#define MORE       (-1) /* nothing wrong so far, and not complete                        */
#define FIELDS_MAX 100u

struct row {
    const char *name;
    int status;
    const char *bytes;
    size_t size;
};
#define ROW(name, status, bytes)                                                                   \
    {                                                                                              \
        name, status, bytes, sizeof(bytes) - 1                                                     \
    }
#define GET(lines)      "GET / HTTP/1.1\r\nHost: a\r\n" lines "\r\n"
#define POST(lines)     "POST / HTTP/1.1\r\nHost: a\r\n" lines "\r\n"
#define TARGET(target)  "GET " target " HTTP/1.1\r\nHost: a\r\n\r\n"
#define HOST(value)     "GET / HTTP/1.1\r\nHost: " value "\r\n\r\n"
#define UP              "Connection: Upgrade\r\nUpgrade: websocket\r\n"
#define KEY             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define V13             "Sec-WebSocket-Version: 13\r\n"
#define RESPONSE(lines) "HTTP/1.1 200 OK\r\n" lines "\r\n"

/* clang-format off */
static const struct row requests[] = {
    /* The request line. */
    ROW("the simplest request",               OK,   GET("")),
    ROW("an empty line first",                OK,   "\r\n" GET("")),
    ROW("two empty lines first",              400,  "\r\n\r\n" GET("")),
    ROW("LF first",                           400,  "\n" GET("")),
    ROW("CR first",                           400,  "\r" GET("")),
    ROW("nothing",                            MORE, ""),
    ROW("an empty line alone",                MORE, "\r\n"),
    ROW("half a method",                      MORE, "GE"),
    ROW("half a version",                     MORE, "GET / HTT"),
    ROW("no empty line yet",                  MORE, "GET / HTTP/1.1\r\nHost: a\r\n"),
    ROW("half an empty line",                 MORE, "GET / HTTP/1.1\r\nHost: a\r\n\r"),
    ROW("LF behind the request line",         400,  "GET / HTTP/1.1\nHost: a\r\n\r\n"),
    ROW("LF everywhere",                      400,  "GET / HTTP/1.1\nHost: a\n\n"),
    ROW("CR behind the request line",         400,  "GET / HTTP/1.1\rHost: a\r\n\r\n"),
    ROW("two CR behind the request line",     400,  "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"),
    ROW("two spaces behind the method",       400,  "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ROW("two spaces behind the target",       400,  "GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
    ROW("a space first",                      400,  " GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ROW("a space last",                       400,  "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    ROW("a tab behind the method",            400,  "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ROW("a tab behind the target",            400,  "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n"),
    ROW("no version",                         400,  "GET /\r\nHost: a\r\n\r\n"),
    ROW("no target",                          400,  "GET HTTP/1.1\r\nHost: a\r\n\r\n"),
    ROW("only a method",                      400,  "GET\r\nHost: a\r\n\r\n"),
    ROW("a fourth word",                      400,  "GET / x HTTP/1.1\r\nHost: a\r\n\r\n"),
    ROW("an unknown method",                  OK,   "PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ROW("a method of odd token characters",   OK,   "!#$%&'*+-.^_`|~ / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ROW("a method with a colon",              400,  "GE:T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ROW("a method with NUL",                  400,  "GE\0T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ROW("a method with obs-text",             400,  "GE\xe4T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ROW("a method with a slash",              400,  "GE/T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ROW("HTTP/1.2",                           OK,   "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    ROW("HTTP/2.0",                           505,  "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    ROW("HTTP/0.9",                           505,  "GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
    ROW("the preface of HTTP/2",              505,  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ROW("HTTP/1.10",                          400,  "GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
    ROW("HTTP/01.1",                          400,  "GET / HTTP/01.1\r\nHost: a\r\n\r\n"),
    ROW("HTTP/1",                             400,  "GET / HTTP/1\r\nHost: a\r\n\r\n"),
    ROW("HTTP/1.",                            400,  "GET / HTTP/1.\r\nHost: a\r\n\r\n"),
    ROW("HTTP/+1.1",                          400,  "GET / HTTP/+1.1\r\nHost: a\r\n\r\n"),
    ROW("http/1.1",                           400,  "GET / http/1.1\r\nHost: a\r\n\r\n"),
    ROW("HTTPS/1.1",                          400,  "GET / HTTPS/1.1\r\nHost: a\r\n\r\n"),
    ROW("ICY/1.1",                            400,  "GET / ICY/1.1\r\nHost: a\r\n\r\n"),
    ROW("a TLS client hello",                 400,  "\x16\x03\x01\x02\0\x01\0"),
    ROW("SSH",                                400,  "SSH-2.0-OpenSSH_9.2\r\n"),
    ROW("a PROXY line that nobody expects",   400,  "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" GET("")),
    /* The target. */
    ROW("a query",                            OK,   TARGET("/a?b=c&d")),
    ROW("odd but visible",                    OK,   TARGET("/a|b{c}\"<>^`\\")),
    ROW("any escape",                         OK,   TARGET("/%zz")),
    ROW("a fragment",                         400,  TARGET("/a#b")),
    ROW("NUL in the target",                  400,  TARGET("/a\0b")),
    ROW("a control character in the target",  400,  TARGET("/a\x01" "b")),
    ROW("DEL in the target",                  400,  TARGET("/a\x7f")),
    ROW("obs-text in the target",             400,  TARGET("/\xc3\xa4")),
    ROW("a relative path",                    400,  TARGET("a/b")),
    ROW("a query alone",                      400,  TARGET("?a")),
    ROW("a backslash first",                  400,  TARGET("\\a")),
    ROW("* with GET",                         400,  TARGET("*")),
    ROW("* with OPTIONS",                     OK,   "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
    ROW("** with OPTIONS",                    400,  "OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n"),
    ROW("absolute-form",                      OK,   TARGET("http://b/c")),
    ROW("absolute-form in capitals",          OK,   TARGET("HTTPS://b:443/c")),
    ROW("absolute-form without a path",       OK,   TARGET("http://b")),
    ROW("absolute-form, query, no path",      400,  TARGET("http://b?c")),
    ROW("absolute-form with user",            400,  TARGET("http://u@b/")),
    ROW("absolute-form with user, password",  400,  TARGET("http://u:p@b/")),
    ROW("absolute-form without a host",       400,  TARGET("http:///c")),
    ROW("absolute-form without anything",     400,  TARGET("http://")),
    ROW("absolute-form with a port only",     400,  TARGET("http://:80/")),
    ROW("absolute-form with an empty port",   OK,   TARGET("http://b:/")),
    ROW("absolute-form with a bad port",      400,  TARGET("http://b:8o/")),
    ROW("absolute-form with a large port",    400,  TARGET("http://b:65536/")),
    ROW("absolute-form with a backslash",     400,  TARGET("http://b\\c/")),
    ROW("absolute-form with one slash",       400,  TARGET("http:/b/")),
    ROW("absolute-form of ftp",               400,  TARGET("ftp://b/")),
    ROW("absolute-form of ws",                400,  TARGET("ws://b/")),
    ROW("absolute-form with IPv6",            OK,   TARGET("http://[::1]:80/")),
    ROW("absolute-form with broken IPv6",     400,  TARGET("http://[::1/")),
    ROW("absolute-form without Host",         400,  "GET http://b/ HTTP/1.1\r\n\r\n"),
    ROW("authority-form with GET",            400,  TARGET("b:80")),
    ROW("CONNECT",                            405,  "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"),
    ROW("CONNECT with a path",                405,  "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ROW("connect in small letters",           400,  "connect a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"),
    /* Field lines. */
    ROW("obs-fold with a space",              400,  GET("A: b\r\n c\r\n")),
    ROW("obs-fold with a tab",                400,  GET("A: b\r\n\tc\r\n")),
    ROW("obs-fold of nothing",                400,  GET("A: b\r\n \r\n")),
    ROW("white space before the first field", 400,  "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    ROW("a space before the colon",           400,  GET("A : b\r\n")),
    ROW("a tab before the colon",             400,  GET("A\t: b\r\n")),
    ROW("a space in a name",                  400,  GET("A B: c\r\n")),
    ROW("no colon",                           400,  GET("A\r\n")),
    ROW("no name",                            400,  GET(": b\r\n")),
    ROW("only a colon",                       400,  GET(":\r\n")),
    ROW("NUL in a name",                      400,  GET("A\0: b\r\n")),
    ROW("obs-text in a name",                 400,  GET("A\xa0: b\r\n")),
    ROW("a quote in a name",                  400,  GET("\"A\": b\r\n")),
    ROW("a bracket in a name",                400,  GET("A[0]: b\r\n")),
    ROW("a slash in a name",                  400,  GET("A/B: b\r\n")),
    ROW("a control character in a name",      400,  GET("A\x0b: b\r\n")),
    ROW("every token character in a name",    OK,   GET("!#$%&'*+-.^_`|~09azAZ: b\r\n")),
    ROW("no space behind the colon",          OK,   GET("A:b\r\n")),
    ROW("much white space around a value",    OK,   GET("A: \t  b \t \r\n")),
    ROW("an empty value",                     OK,   GET("A:\r\n")),
    ROW("a value of white space",             OK,   GET("A:  \t\r\n")),
    ROW("a tab in a value",                   OK,   GET("A: b\tc\r\n")),
    ROW("obs-text in a value",                OK,   GET("A: \xe4\xff\x80\r\n")),
    ROW("colons in a value",                  OK,   GET("A: b: c:\r\n")),
    ROW("NUL in a value",                     400,  GET("A: b\0c\r\n")),
    ROW("NUL ends a value",                   400,  GET("A: b\0\r\n")),
    ROW("CR in a value",                      400,  GET("A: b\rc\r\n")),
    ROW("CR that hides a field",              400,  GET("A: b\rTransfer-Encoding: chunked\r\n")),
    ROW("LF that hides a field",              400,  GET("A: b\nTransfer-Encoding: chunked\r\n")),
    ROW("two CR at the end of a line",        400,  GET("A: b\r\r\n")),
    ROW("a bell in a value",                  400,  GET("A: \x07\r\n")),
    ROW("a vertical tab in a value",          400,  GET("A: b\x0b\r\n")),
    ROW("a form feed in a value",             400,  GET("A: b\x0c\r\n")),
    ROW("DEL in a value",                     400,  GET("A: b\x7f\r\n")),
    ROW("ESC far behind in a value",          400,  GET("A: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\x1b\r\n")),
    ROW("LF as the empty line",               400,  "GET / HTTP/1.1\r\nHost: a\r\n\n"),
    ROW("CR as the empty line",               400,  "GET / HTTP/1.1\r\nHost: a\r\n\rGET"),
    /* Host. */
    ROW("no Host",                            400,  "GET / HTTP/1.1\r\n\r\n"),
    ROW("no Host in 1.0",                     OK,   "GET / HTTP/1.0\r\n\r\n"),
    ROW("Host with an underscore instead",    400,  "GET / HTTP/1.1\r\nHost_: a\r\n\r\n"),
    ROW("two Hosts",                          400,  GET("Host: b\r\n")),
    ROW("the same Host twice",                400,  GET("HOST: a\r\n")),
    ROW("two Hosts in 1.0",                   400,  "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
    ROW("an empty Host",                      OK,   HOST("")),
    ROW("a Host with an empty port",          OK,   HOST("a:")),
    ROW("a literal with an empty port",       OK,   HOST("[::1]:")),
    ROW("an empty port alone",                400,  HOST(":")),
    ROW("an empty Host in 1.0",               OK,   "GET / HTTP/1.0\r\nHost:\r\n\r\n"),
    ROW("Host with a port",                   OK,   HOST("a:8080")),
    ROW("Host with odd letters",              OK,   HOST("A-b_c.d~e.")),
    ROW("Host with a port of six digits",     400,  HOST("a:000080")),
    ROW("Host with a large port",             400,  HOST("a:65536")),
    ROW("Host with a signed port",            400,  HOST("a:+80")),
    ROW("Host with two ports",                400,  HOST("a:80:80")),
    ROW("Host with a space",                  400,  HOST("a b")),
    ROW("Host with a tab",                    400,  HOST("a\tb")),
    ROW("Host with a comma",                  400,  HOST("a,b")),
    ROW("Host with user",                     400,  HOST("u@a")),
    ROW("Host with a path",                   400,  HOST("a/b")),
    ROW("Host with a scheme",                 400,  HOST("http://a")),
    ROW("Host with a backslash",              400,  HOST("a\\b")),
    ROW("Host with a query",                  400,  HOST("a?b")),
    ROW("Host with a fragment",               400,  HOST("a#b")),
    ROW("Host with an escape",                400,  HOST("a%2eb")),
    ROW("Host with obs-text",                 400,  HOST("\xe4")),
    ROW("Host with an equals sign",           400,  HOST("a=b")),
    ROW("Host that is a port",                400,  HOST(":80")),
    ROW("Host of IPv4",                       OK,   HOST("127.0.0.1:80")),
    ROW("Host of IPv6",                       OK,   HOST("[2001:db8::1]")),
    ROW("Host of IPv6 with a port",           OK,   HOST("[::ffff:1.2.3.4]:80")),
    ROW("Host of IPv6 with a tail",           400,  HOST("[::1]a")),
    ROW("Host of IPv6 without brackets",      400,  HOST("::1")),
    ROW("Host of IPv6 not closed",            400,  HOST("[::1")),
    ROW("Host of IPv6 with a zone",           400,  HOST("[fe80::1%25eth0]")),
    ROW("Host of IPv4 in brackets",           400,  HOST("[1.2.3.4]")),
    ROW("Host of nothing in brackets",        400,  HOST("[]")),
    ROW("Host of a future address",           400,  HOST("[v1.a:b]")),
    ROW("Host with a closing bracket",        400,  HOST("a]")),
    /* Content-Length. */
    ROW("Content-Length",                     OK,   POST("Content-Length: 3\r\n")),
    ROW("Content-Length of 0",                OK,   POST("Content-Length: 0\r\n")),
    ROW("Content-Length of 2^63-1",           OK,   POST("Content-Length: 9223372036854775807\r\n")),
    ROW("Content-Length of 2^63",             400,  POST("Content-Length: 9223372036854775808\r\n")),
    ROW("Content-Length of 2^64",             400,  POST("Content-Length: 18446744073709551616\r\n")),
    ROW("Content-Length of 2^64 + 3",         400,  POST("Content-Length: 18446744073709551619\r\n")),
    ROW("Content-Length of 40 digits",        400,  POST("Content-Length: 1000000000000000000000000000000000000003\r\n")),
    ROW("Content-Length with a minus",        400,  POST("Content-Length: -1\r\n")),
    ROW("Content-Length with a plus",         400,  POST("Content-Length: +3\r\n")),
    ROW("Content-Length in hex",              400,  POST("Content-Length: 0x3\r\n")),
    ROW("Content-Length with a letter",       400,  POST("Content-Length: 3a\r\n")),
    ROW("Content-Length with a point",        400,  POST("Content-Length: 3.0\r\n")),
    ROW("Content-Length with a zero first",   400,  POST("Content-Length: 010\r\n")),
    ROW("Content-Length of two zeros",        400,  POST("Content-Length: 00\r\n")),
    ROW("Content-Length with a space",        400,  POST("Content-Length: 3 3\r\n")),
    ROW("Content-Length in quotes",           400,  POST("Content-Length: \"3\"\r\n")),
    ROW("Content-Length, empty",              400,  POST("Content-Length:\r\n")),
    ROW("Content-Length, a comma",            400,  POST("Content-Length: ,\r\n")),
    ROW("Content-Length, a list",             400,  POST("Content-Length: 3, 3\r\n")),
    ROW("Content-Length, list, no space",     400,  POST("Content-Length: 3,4\r\n")),
    ROW("Content-Length twice",               400,  POST("Content-Length: 3\r\nContent-Length: 4\r\n")),
    ROW("Content-Length twice, equal",        400,  POST("Content-Length: 3\r\ncontent-length: 3\r\n")),
    ROW("Content-Length and an empty one",    400,  POST("Content-Length: 3\r\nContent-Length:\r\n")),
    ROW("Content-Length with obs-text",       400,  POST("Content-Length: 3\xa0\r\n")),
    ROW("Content-Length of superscript",      400,  POST("Content-Length: \xb3\r\n")),
    /* Transfer-Encoding. */
    ROW("chunked",                            OK,   POST("Transfer-Encoding: chunked\r\n")),
    ROW("chunked in other letters",           OK,   POST("tRANSFER-eNCODING: ChunkeD\r\n")),
    ROW("chunked with white space",           OK,   POST("Transfer-Encoding:\t chunked \t\r\n")),
    ROW("chunked and Content-Length",         400,  POST("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n")),
    ROW("Content-Length and chunked",         400,  POST("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n")),
    ROW("chunked and Content-Length of 0",    400,  POST("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n")),
    ROW("chunked in two lines",               400,  POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")),
    ROW("chunked twice in a line",            400,  POST("Transfer-Encoding: chunked, chunked\r\n")),
    ROW("chunked and identity",               400,  POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n")),
    ROW("identity",                           400,  POST("Transfer-Encoding: identity\r\n")),
    ROW("gzip, chunked",                      400,  POST("Transfer-Encoding: gzip, chunked\r\n")),
    ROW("chunked, gzip",                      400,  POST("Transfer-Encoding: chunked, gzip\r\n")),
    ROW("chunked and a comma",                400,  POST("Transfer-Encoding: chunked,\r\n")),
    ROW("a comma and chunked",                400,  POST("Transfer-Encoding: ,chunked\r\n")),
    ROW("chunked with a parameter",           400,  POST("Transfer-Encoding: chunked;a=b\r\n")),
    ROW("chunked in quotes",                  400,  POST("Transfer-Encoding: \"chunked\"\r\n")),
    ROW("xchunked",                           400,  POST("Transfer-Encoding: xchunked\r\n")),
    ROW("chunked with obs-text",              400,  POST("Transfer-Encoding: chunked\xa0\r\n")),
    ROW("chunked with a vertical tab",        400,  POST("Transfer-Encoding: \x0b" "chunked\r\n")),
    ROW("an empty Transfer-Encoding",         400,  POST("Transfer-Encoding:\r\n")),
    ROW("an empty one and a length",          400,  POST("Transfer-Encoding:\r\nContent-Length: 3\r\n")),
    ROW("chunked in HTTP/1.0",                400,  "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ROW("Transfer_Encoding and a length",     OK,   POST("Transfer_Encoding: chunked\r\nContent-Length: 3\r\n")),
    ROW("Transfer-Encoding with a space",     400,  POST("Transfer-Encoding : chunked\r\n")),
    /* Connection and Expect. */
    ROW("Connection names Host",              400,  GET("Connection: Host\r\n")),
    ROW("Connection names Content-Length",    400,  POST("Connection: content-length\r\nContent-Length: 3\r\n")),
    ROW("Connection names an absent length",  400,  GET("Connection: x, Content-Length\r\n")),
    ROW("Connection names the encoding",      400,  POST("Connection: close , TRANSFER-ENCODING\r\nTransfer-Encoding: chunked\r\n")),
    ROW("the second Connection names Host",   400,  GET("Connection: close\r\nConnection: host\r\n")),
    ROW("Connection with empty elements",     OK,   GET("Connection: , ,close,,\r\n")),
    ROW("an empty Connection",                OK,   GET("Connection:\r\n")),
    ROW("33 options in Connection",           400,  GET("Connection: a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a\r\n")),
    ROW("Expect: 100-continue",               OK,   POST("Content-Length: 3\r\nExpect: 100-Continue\r\n")),
    ROW("Expect of something else",           417,  POST("Expect: 200-ok\r\n")),
    ROW("Expect of both",                     417,  POST("Expect: 100-continue\r\nExpect: x\r\n")),
    ROW("an empty Expect",                    417,  POST("Expect:\r\n")),
    ROW("Expect of something in HTTP/1.0",    OK,   "POST / HTTP/1.0\r\nExpect: x\r\n\r\n"),
    /* Upgrades. */
    ROW("a WebSocket",                        OK,   GET(UP KEY V13)),
    ROW("a WebSocket with a length of 0",     OK,   GET(UP KEY V13 "Content-Length: 0\r\n")),
    ROW("a WebSocket with a body",            400,  GET(UP KEY V13 "Content-Length: 3\r\n")),
    ROW("a WebSocket with a chunked body",    400,  GET(UP KEY V13 "Transfer-Encoding: chunked\r\n")),
    ROW("a WebSocket without a key",          400,  GET(UP V13)),
    ROW("a WebSocket with two keys",          400,  GET(UP KEY KEY V13)),
    ROW("a WebSocket that keeps its key",     400,  GET(UP KEY V13 "Connection: sec-websocket-key\r\n")),
    ROW("a WebSocket that keeps its version", 400,  GET(UP KEY V13 "Connection: Sec-WebSocket-Version\r\n")),
    ROW("a WebSocket with an empty key",      400,  GET(UP V13 "Sec-WebSocket-Key:\r\n")),
    ROW("a WebSocket with 15 bytes of key",   400,  GET(UP V13 "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA\r\n")),
    ROW("a WebSocket with 18 bytes of key",   400,  GET(UP V13 "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAAA\r\n")),
    ROW("a key without padding",              400,  GET(UP V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n")),
    ROW("a key with a bad character",         400,  GET(UP V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j!Q==\r\n")),
    ROW("a WebSocket without a version",      400,  GET(UP KEY)),
    ROW("a WebSocket with two versions",      400,  GET(UP KEY V13 V13)),
    ROW("a WebSocket of version 8",           426,  GET(UP KEY "Sec-WebSocket-Version: 8\r\n")),
    ROW("a WebSocket of version 13, 8",       426,  GET(UP KEY "Sec-WebSocket-Version: 13, 8\r\n")),
    ROW("a WebSocket of version 013",         426,  GET(UP KEY "Sec-WebSocket-Version: 013\r\n")),
    ROW("the old version wins over the key",  426,  GET(UP "Sec-WebSocket-Version: 8\r\n")),
    ROW("a WebSocket by POST is no upgrade",  OK,   POST(UP "Content-Length: 3\r\n")),
    ROW("a WebSocket in 1.0 is no upgrade",   OK,   "GET / HTTP/1.0\r\n" UP "\r\n"),
    ROW("Upgrade without the option",         OK,   GET("Upgrade: websocket\r\n")),
    ROW("the option without Upgrade",         OK,   GET("Connection: upgrade\r\n")),
    ROW("h2c",                                OK,   GET("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n")),
};

static const struct row responses[] = {
    /* The status line. */
    ROW("the simplest response",              OK,   RESPONSE("")),
    ROW("HTTP/1.0",                           OK,   "HTTP/1.0 200 OK\r\n\r\n"),
    ROW("an empty reason",                    OK,   "HTTP/1.1 200 \r\n\r\n"),
    ROW("no reason and no space",             OK,   "HTTP/1.1 200\r\n\r\n"),
    ROW("a reason of several words",          OK,   "HTTP/1.1 404 Not \t Found\r\n\r\n"),
    ROW("a reason with obs-text",             OK,   "HTTP/1.1 404 Nicht verf\xfcgbar\r\n\r\n"),
    ROW("status 599",                         OK,   "HTTP/1.1 599 x\r\n\r\n"),
    ROW("half a status line",                 MORE, "HTTP/1.1 20"),
    ROW("an empty line first",                502,  "\r\n" RESPONSE("")),
    ROW("a body without a head",              502,  "<html>"),
    ROW("ICY",                                502,  "ICY 200 OK\r\n\r\n"),
    ROW("HTTP/2.0",                           502,  "HTTP/2.0 200 OK\r\n\r\n"),
    ROW("HTTP/1.2",                           OK,   "HTTP/1.2 200 OK\r\n\r\n"),
    ROW("http/1.1",                           502,  "http/1.1 200 OK\r\n\r\n"),
    ROW("HTTP/1.10",                          502,  "HTTP/1.10 200 OK\r\n\r\n"),
    ROW("two spaces before the status",       502,  "HTTP/1.1  200 OK\r\n\r\n"),
    ROW("a tab before the status",            502,  "HTTP/1.1\t200 OK\r\n\r\n"),
    ROW("no status",                          502,  "HTTP/1.1 OK\r\n\r\n"),
    ROW("status 20",                          502,  "HTTP/1.1 20 OK\r\n\r\n"),
    ROW("status 2000",                        502,  "HTTP/1.1 2000 OK\r\n\r\n"),
    ROW("status 600",                         OK,   "HTTP/1.1 600 OK\r\n\r\n"),
    ROW("status 999",                         OK,   "HTTP/1.1 999 OK\r\n\r\n"),
    ROW("status 099",                         502,  "HTTP/1.1 099 OK\r\n\r\n"),
    ROW("status 2x0",                         502,  "HTTP/1.1 2x0 OK\r\n\r\n"),
    ROW("status -20",                         502,  "HTTP/1.1 -20 OK\r\n\r\n"),
    ROW("a tab behind the status",            502,  "HTTP/1.1 200\tOK\r\n\r\n"),
    ROW("LF behind the status line",          502,  "HTTP/1.1 200 OK\nA: b\r\n\r\n"),
    ROW("LF behind the status",               502,  "HTTP/1.1 200\nA: b\r\n\r\n"),
    ROW("CR in the reason",                   502,  "HTTP/1.1 200 O\rK\r\n\r\n"),
    ROW("NUL in the reason",                  502,  "HTTP/1.1 200 O\0K\r\n\r\n"),
    ROW("DEL in the reason",                  502,  "HTTP/1.1 200 O\x7fK\r\n\r\n"),
    /* Field lines. */
    ROW("obs-fold",                           502,  RESPONSE("A: b\r\n c\r\n")),
    ROW("a space before the colon",           502,  RESPONSE("A : b\r\n")),
    ROW("no colon",                           502,  RESPONSE("A\r\n")),
    ROW("no name",                            502,  RESPONSE(": b\r\n")),
    ROW("CR in a value",                      502,  RESPONSE("A: b\rSet-Cookie: c=d\r\n")),
    ROW("LF in a value",                      502,  RESPONSE("A: b\nSet-Cookie: c=d\r\n")),
    ROW("NUL in a value",                     502,  RESPONSE("A: \0\r\n")),
    ROW("LF as the empty line",               502,  "HTTP/1.1 200 OK\r\nA: b\r\n\n"),
    /* Framing. */
    ROW("chunked",                            OK,   RESPONSE("Transfer-Encoding: chunked\r\n")),
    ROW("Content-Length",                     OK,   RESPONSE("Content-Length: 5\r\n")),
    ROW("Content-Length with zeros first",    OK,   RESPONSE("Content-Length: 005\r\n")),
    ROW("chunked and Content-Length",         502,  RESPONSE("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n")),
    ROW("two lengths",                        502,  RESPONSE("Content-Length: 5\r\nContent-Length: 6\r\n")),
    ROW("two equal lengths",                  OK,   RESPONSE("Content-Length: 5\r\nContent-Length: 5\r\n")),
    ROW("a list of lengths",                  502,  RESPONSE("Content-Length: 5, 5\r\n")),
    ROW("a length with a minus",              502,  RESPONSE("Content-Length: -5\r\n")),
    ROW("a length with a plus",               502,  RESPONSE("Content-Length: +5\r\n")),
    ROW("a length with a letter",             502,  RESPONSE("Content-Length: 5a\r\n")),
    ROW("a length of 2^64",                   502,  RESPONSE("Content-Length: 18446744073709551616\r\n")),
    ROW("an empty length",                    502,  RESPONSE("Content-Length:\r\n")),
    ROW("gzip",                               502,  RESPONSE("Transfer-Encoding: gzip\r\n")),
    ROW("identity",                           502,  RESPONSE("Transfer-Encoding: identity\r\n")),
    ROW("gzip, chunked",                      502,  RESPONSE("Transfer-Encoding: gzip, chunked\r\n")),
    ROW("chunked twice",                      502,  RESPONSE("Transfer-Encoding: chunked, chunked\r\n")),
    ROW("chunked in two lines",               502,  RESPONSE("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")),
    ROW("chunked in HTTP/1.0",                502,  "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ROW("chunked in 100",                     OK,   "HTTP/1.1 100 x\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ROW("chunked in 101",                     OK,   "HTTP/1.1 101 x\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ROW("chunked in 204",                     OK,   "HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ROW("chunked in 304",                     OK,   "HTTP/1.1 304 x\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ROW("a length in 204",                    OK,   "HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n"),
    ROW("two lengths in 204",                 OK,   "HTTP/1.1 204 x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"),
    ROW("Connection names the length",        502,  RESPONSE("Connection: Content-Length\r\nContent-Length: 5\r\n")),
    ROW("Connection names the encoding",      502,  RESPONSE("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n")),
    ROW("Transfer_Encoding and a length",     OK,   RESPONSE("Transfer_Encoding: chunked\r\nContent-Length: 5\r\n")),
};
/* clang-format on */

static int status_of(enum http1_outcome outcome, struct http1_head *head, const char *bytes,
                     bool is_request, const char **why)
{
    struct http1_request request;
    struct http1_response response;

    switch (outcome) {
    case HTTP1_DONE:
        if (is_request)
            return http1_read_request(&request, head, bytes, why);
        return http1_read_response(&response, head, bytes, HTTP1_GET, why) ? OK : 502;
    case HTTP1_MORE:
        return MORE;
    case HTTP1_BAD:
        return is_request ? 400 : 502;
    case HTTP1_TOO_LARGE:
        return is_request ? 431 : 502;
    case HTTP1_BAD_VERSION:
        return is_request ? 505 : 502;
    }
    return OK;
}

/* Gives the status after the bytes came in pieces of that size. */
static int status_in_pieces(const struct row *row, size_t piece, bool is_request, const char **why)
{
    struct http1_head head;
    enum http1_outcome outcome = HTTP1_MORE;
    const char *bytes = NULL;
    size_t size = 0;

    http1_head_init(&head, LP_HEAD_BYTES_MAX, FIELDS_MAX);
    do {
        size = size + piece < row->size ? size + piece : row->size;
        bytes = guarded(row->bytes, size);
        outcome = is_request ? http1_parse_request(&head, bytes, size, why)
                             : http1_parse_response(&head, bytes, size, why);
    } while (outcome == HTTP1_MORE && size < row->size);
    return status_of(outcome, &head, bytes, is_request, why);
}

static void check_row(const struct row *row, bool is_request)
{
    static const size_t pieces[] = {GUARD_BYTES_MAX, 1, 2, 3, 7, 16};
    const char *first_why = NULL;

    for (size_t i = 0; i < LP_COUNT_OF(pieces); i++) {
        const char *why = NULL;
        int status = status_in_pieces(row, pieces[i], is_request, &why);

        if (status != row->status)
            fail_msg("%s, in pieces of %zu: %d instead of %d (%s)", row->name, pieces[i], status,
                     row->status, why != NULL ? why : "no reason");
        if ((status > 0) != (why != NULL))
            fail_msg("%s: %d, but %s reason", row->name, status, why != NULL ? "a" : "no");
        if (i != 0 && why != first_why)
            fail_msg("%s, in pieces of %zu: %s instead of %s", row->name, pieces[i], why,
                     first_why);
        first_why = why;
    }
}

static void every_request_meets_its_status(void **state)
{
    (void)state;

    for (size_t i = 0; i < LP_COUNT_OF(requests); i++)
        check_row(&requests[i], true);
}

static void every_response_meets_its_status(void **state)
{
    (void)state;

    for (size_t i = 0; i < LP_COUNT_OF(responses); i++)
        check_row(&responses[i], false);
}

static void what_is_bad_is_known_at_its_first_bad_byte(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("a colon in the method", 400, "GE:"),
        ROW("no target", 400, "GET  "),
        ROW("another protocol", 400, "GET / X"),
        ROW("a fold", 400, "GET / HTTP/1.1\r\nHost: a\r\n "),
        ROW("a space before the colon", 400, "GET / HTTP/1.1\r\nHost "),
        ROW("LF", 400, "GET / HTTP/1.1\r\nHost: a\n"),
        ROW("NUL", 400, "GET / HTTP/1.1\r\nHost: a\0"),
        ROW("another version", 505, "GET / HTTP/3.0"),
    };

    for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
        struct row shorter = rows[i];

        check_row(&rows[i], true);
        shorter.status = MORE;
        shorter.size--;
        check_row(&shorter, true);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request_meets_its_status),
        cmocka_unit_test(every_response_meets_its_status),
        cmocka_unit_test(what_is_bad_is_known_at_its_first_bad_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
