'use strict';
// WebSocket frames as bytes, for what no library would send or would hide from us.

const crypto = require('node:crypto');

const OP = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 };

/** One frame; masked unless it comes from a server. */
function frame(opcode, payload = '', { fin = true, rsv = 0, masked = true } = {}) {
  const data = Buffer.from(payload);
  const length = data.length < 126 ? 2 : data.length < 65536 ? 4 : 10;
  const head = Buffer.alloc(length + (masked ? 4 : 0));
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  head[1] = masked ? 0x80 : 0;
  if (length === 2) {
    head[1] |= data.length;
  } else if (length === 4) {
    head[1] |= 126;
    head.writeUInt16BE(data.length, 2);
  } else {
    head[1] |= 127;
    head.writeBigUInt64BE(BigInt(data.length), 2);
  }
  if (masked) {
    const key = crypto.randomBytes(4);
    key.copy(head, length);
    for (let i = 0; i < data.length; i++) data[i] ^= key[i & 3];
  }
  return Buffer.concat([head, data]);
}

function closeFrame(code, reason = '', options) {
  const payload = Buffer.alloc(2 + Buffer.byteLength(reason));
  payload.writeUInt16BE(code, 0);
  payload.write(reason, 2);
  return frame(OP.CLOSE, payload, options);
}

/** Takes the first whole frame off bytes: {opcode, fin, rsv, masked, payload, code, size} or null. */
function readFrame(bytes) {
  if (bytes.length < 2) return null;
  let at = 2;
  let length = bytes[1] & 0x7f;
  if (length === 126) {
    if (bytes.length < 4) return null;
    length = bytes.readUInt16BE(2);
    at = 4;
  } else if (length === 127) {
    if (bytes.length < 10) return null;
    length = Number(bytes.readBigUInt64BE(2));
    at = 10;
  }
  const masked = (bytes[1] & 0x80) !== 0;
  const key = masked ? bytes.subarray(at, at + 4) : null;
  if (masked) at += 4;
  if (bytes.length < at + length) return null;
  const payload = Buffer.from(bytes.subarray(at, at + length));
  if (masked) for (let i = 0; i < length; i++) payload[i] ^= key[i & 3];
  const opcode = bytes[0] & 0x0f;
  return {
    opcode, fin: (bytes[0] & 0x80) !== 0, rsv: (bytes[0] >> 4) & 7, masked, payload, size: at + length,
    text: opcode === OP.BINARY ? undefined : payload.toString(),
    code: opcode === OP.CLOSE && length >= 2 ? payload.readUInt16BE(0) : undefined,
  };
}

const makeKey = () => crypto.randomBytes(16).toString('base64');
const acceptOf = (key) => crypto.createHash('sha1')
  .update(key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');

module.exports = { OP, frame, closeFrame, readFrame, makeKey, acceptOf };
