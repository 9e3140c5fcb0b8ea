'use strict';
// Responses that must not confuse a client. Each row: a name, the bytes of the server, and what the
// client may see:
//   a status (502)     our own answer, nothing of the server's
//   cut                the head may come, never a whole message
//   a text             exactly this body with 200, and nothing of what the server said behind it
// upgrade: the client asks for a WebSocket. method: HEAD and the like.

const OK = 'HTTP/1.1 200 OK\r\n';
const body = (lines, text = '') => `${OK}${lines}\r\n${text}`;
const EVIL = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nevil!!';
const chunked = (text) => body('Transfer-Encoding: chunked\r\n', text);
const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\n';
const UP = 'Upgrade: websocket\r\nConnection: Upgrade\r\n';
const RIGHT = 'Sec-WebSocket-Accept: ACCEPT\r\n';
const WRONG = 'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n';

module.exports = [
  // The status line.
  ['garbage', 'hello there\r\n\r\n', 502],
  ['a body of HTTP/0.9', '<html>hello</html>', 502],
  ['a greeting of SMTP', '220 mail ESMTP\r\n', 502],
  ['a status of two digits', 'HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n', 502],
  ['a status of four digits', 'HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n', 502],
  ['a status with a letter', 'HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n', 502],
  ['a status below 100', 'HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n', 502],
  ['HTTP/2.0', 'HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n', 502],
  ['two spaces before the status', 'HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n', 502],
  ['a bare LF behind the status line', 'HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n', 502],
  ['a bare CR in the reason', 'HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n', 502],
  ['a NUL in the reason', 'HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n', 502],
  ['an empty line first', `\r\n${OK}Content-Length: 0\r\n\r\n`, 502],
  // Field lines.
  ['obs-fold', body('X-A: b\r\n c\r\nContent-Length: 0\r\n'), 502],
  ['a space before the colon', body('Content-Length : 5\r\n', 'hello'), 502],
  ['a line without a colon', body('X-A\r\nContent-Length: 0\r\n'), 502],
  ['an empty name', body(': b\r\nContent-Length: 0\r\n'), 502],
  ['a NUL in a value', body('X-A: b\0\r\nContent-Length: 0\r\n'), 502],
  ['a bare CR in a value', body('X-A: b\rSet-Cookie: c=d\r\nContent-Length: 0\r\n'), 502],
  ['a bare LF between fields', body('X-A: b\nSet-Cookie: c=d\r\nContent-Length: 0\r\n'), 502],
  ['a head of 20 KiB', body(`X-A: ${'b'.repeat(20000)}\r\nContent-Length: 0\r\n`), 502],
  ['101 fields', body(`${'X-A: b\r\n'.repeat(100)}Content-Length: 0\r\n`), 502],
  // Framing.
  ['a length and chunks', body('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'), 502],
  ['two different lengths', body('Content-Length: 5\r\nContent-Length: 6\r\n', 'hello!'), 502],
  ['two equal lengths', body('Content-Length: 5\r\nContent-Length: 5\r\n', 'hello'), 200],
  ['a list of lengths', body('Content-Length: 5, 5\r\n', 'hello'), 502],
  ['a negative length', body('Content-Length: -5\r\n', 'hello'), 502],
  ['a length with a letter', body('Content-Length: 5a\r\n', 'hello'), 502],
  ['a length of 2^64', body('Content-Length: 18446744073709551616\r\n', 'hello'), 502],
  ['an unknown encoding', body('Transfer-Encoding: gzip\r\n', 'hello'), 502],
  ['chunked twice', body('Transfer-Encoding: chunked, chunked\r\n', '0\r\n\r\n'), 502],
  ['chunked that is not last', body('Transfer-Encoding: chunked, gzip\r\n', '0\r\n\r\n'), 502],
  ['chunked in HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 502],
  ['Connection names Content-Length', body('Connection: Content-Length\r\nContent-Length: 5\r\n', 'hello'), 502],
  // 101 and 1xx.
  ['a 101 that nobody asked for', `${SWITCH}${UP}${WRONG}\r\n`, 502],
  ['a 101 of another protocol that nobody asked for', `${SWITCH}Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n`, 502],
  ['a 101 with a wrong accept', `${SWITCH}${UP}${WRONG}\r\n`, 502, { upgrade: true }],
  ['a 101 without an accept', `${SWITCH}${UP}\r\n`, 502, { upgrade: true }],
  ['a 101 without Upgrade', `${SWITCH}Connection: Upgrade\r\n${RIGHT}\r\n`, 502, { upgrade: true }],
  ['a 101 without Connection', `${SWITCH}Upgrade: websocket\r\n${RIGHT}\r\n`, 502, { upgrade: true }],
  ['a 101 of another protocol', `${SWITCH}Upgrade: h2c\r\nConnection: Upgrade\r\n${RIGHT}\r\n`, 502, { upgrade: true }],
  ['a 101 in HTTP/1.0', `HTTP/1.0 101 Switching Protocols\r\n${UP}${RIGHT}\r\n`, 502, { upgrade: true }],
  ['a flood of 1xx', 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'.repeat(20000), [502, 504, 'cut']],
  // Chunks.
  ['a chunk size that is no number', chunked('zz\r\nhello\r\n0\r\n\r\n'), 'cut'],
  ['data without its CRLF', chunked('5\r\nhello0\r\n\r\n'), 'cut'],
  ['a bare LF behind a chunk size', chunked('5\nhello\r\n0\r\n\r\n'), 'cut'],
  ['a chunk size of 17 digits', chunked('10000000000000005\r\nhello\r\n0\r\n\r\n'), 'cut'],
  ['a bare LF in an extension', chunked('5;a\nb\r\nhello\r\n0\r\n\r\n'), 'cut'],
  ['a trailer that is a length', chunked('5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n'), 'cut'],
  // More than one answer.
  ['a second response behind the first', body('Content-Length: 5\r\n', `hello${EVIL}`), 'hello'],
  ['a second response behind chunks', chunked(`5\r\nhello\r\n0\r\n\r\n${EVIL}`), 'hello'],
  ['a body behind 204', `HTTP/1.1 204 No Content\r\nContent-Length: ${EVIL.length}\r\n\r\n${EVIL}`, [204, 502]],
  ['chunks behind 204', `HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n${EVIL}`, [204, 502]],
  ['a body behind 304', `HTTP/1.1 304 Not Modified\r\nContent-Length: ${EVIL.length}\r\n\r\n${EVIL}`, [304, 502]],
  ['a body behind HEAD', body(`Content-Length: ${EVIL.length}\r\n`, EVIL), [200, 502], { method: 'HEAD' }],
  ['a body behind a response of length 0', body('Content-Length: 0\r\n', EVIL), [200]],
];
