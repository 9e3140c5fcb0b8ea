'use strict';
// What lies between a TLS client and its TCP connection, in the hands of a test: it sees the records
// of both directions, may cut or change what is sent, and tells a close_notify from a FIN, which
// node's own socket does not.

const { Duplex } = require('node:stream');

/** Splits bytes into TLS records; what is left behind the last whole one is kept for the next call. */
class RecordReader {
  constructor() {
    this.rest = Buffer.alloc(0);
    this.records = []; // {type, size}
  }

  take(bytes) {
    this.rest = Buffer.concat([this.rest, bytes]);
    while (this.rest.length >= 5 && this.rest.length >= 5 + this.rest.readUInt16BE(3)) {
      const size = this.rest.readUInt16BE(3);
      this.records.push({ type: this.rest[0], size });
      this.rest = this.rest.subarray(5 + size);
    }
  }
}

class Wire extends Duplex {
  /**
   * change     what TLS wants to send -> a list of buffers, each sent in a segment of its own
   * holdsFin   true: the client's own FIN is not sent with its close_notify
   * hidesFin   true: the other side's FIN is only noted (isEnded), so that the TLS client ends by
   *            close_notify alone
   */
  constructor(socket, { change = (bytes) => [bytes], holdsFin = false, hidesFin = false } = {}) {
    super();
    Object.assign(this, { socket, change, holdsFin, hidesFin, isEnded: false });
    this.sent = new RecordReader();
    this.got = new RecordReader();
    socket.on('data', (data) => {
      this.got.take(data);
      if (!this.push(data)) socket.pause();
    });
    socket.on('end', () => {
      this.isEnded = true;
      this.emit('fin');
      if (!this.hidesFin) this.push(null);
    });
    socket.on('error', (err) => this.destroy(err));
    socket.on('close', () => { if (!this.isEnded) this.destroy(); });
  }

  _read() { this.socket.resume(); }

  async _write(bytes, encoding, done) {
    this.sent.take(bytes);
    for (const piece of this.change(bytes)) {
      await new Promise((resolve) => this.socket.write(piece, resolve));
      await new Promise((resolve) => setImmediate(resolve));
    }
    done();
  }

  _final(done) {
    if (!this.holdsFin) this.socket.end();
    done();
  }

  _destroy(err, done) {
    this.socket.destroy();
    done(err);
  }
}

/** For Wire's change: pieces of so many bytes. */
const piecesOf = (size) => (bytes) => Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size));

/** For Wire's change: the ClientHello, cut into records of so many bytes (RFC 8446, 5.1), each in a segment. */
function fragmented(size) {
  let isFirst = true;
  return (bytes) => {
    if (!isFirst) return [bytes];
    isFirst = false;
    const message = bytes.subarray(5, 5 + bytes.readUInt16BE(3));
    const records = piecesOf(size)(message).map((piece) => {
      const head = Buffer.from(bytes.subarray(0, 5));
      head.writeUInt16BE(piece.length, 3);
      return Buffer.concat([head, piece]);
    });
    return [...records, bytes.subarray(5 + message.length)].filter((piece) => piece.length > 0);
  };
}

module.exports = { Wire, piecesOf, fragmented };
