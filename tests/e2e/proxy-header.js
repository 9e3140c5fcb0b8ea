'use strict';
// The PROXY header, both versions, as a server reads it off the front of a connection.

const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');

function parseText(bytes) {
  const end = bytes.indexOf('\r\n');
  if (end < 0) {
    if (bytes.length > 107) throw new Error('a PROXY line without an end');
    return null;
  }
  const line = bytes.toString('latin1', 0, end);
  const match = /^PROXY (?:(UNKNOWN)(?: .*)?|(TCP4|TCP6) (\S+) (\S+) (\d{1,5}) (\d{1,5}))$/.exec(line);
  if (!match || end > 105) throw new Error(`not a PROXY line: ${JSON.stringify(line)}`);
  return { version: 1, size: end + 2, isLocal: Boolean(match[1]), family: match[2], source: match[3], destination: match[4], sourcePort: Number(match[5]), destinationPort: Number(match[6]) };
}

const address6 = (bytes) => new URL(`http://[${bytes.toString('hex').match(/.{4}/g).join(':')}]`).hostname.slice(1, -1);
const address4 = (bytes) => [...bytes].join('.');

function parseBinary(bytes) {
  if (bytes.length < 16) return null;
  const size = 16 + bytes.readUInt16BE(14);
  if (bytes.length < size) return null;
  if (bytes[12] !== 0x20 && bytes[12] !== 0x21) throw new Error(`PROXY version and command ${bytes[12]}`);
  const header = { version: 2, size, isLocal: bytes[12] === 0x20, tlvs: {} };
  const wide = { 0x11: 4, 0x21: 16 }[bytes[13]];
  let at = 16;
  if (wide) {
    const read = wide === 4 ? address4 : address6;
    Object.assign(header, {
      family: wide === 4 ? 'TCP4' : 'TCP6', source: read(bytes.subarray(16, 16 + wide)), destination: read(bytes.subarray(16 + wide, 16 + 2 * wide)),
      sourcePort: bytes.readUInt16BE(16 + 2 * wide), destinationPort: bytes.readUInt16BE(18 + 2 * wide),
    });
    at += 2 * wide + 4;
    for (; at + 3 <= size; at += 3 + bytes.readUInt16BE(at + 1)) header.tlvs[bytes[at]] = bytes.subarray(at + 3, at + 3 + bytes.readUInt16BE(at + 1));
    if (at !== size) throw new Error('TLVs of a PROXY header that do not fit');
  }
  return header;
}

/** The header at the front of bytes, null while it is not whole; throws when there is none. */
function parseProxyHeader(bytes) {
  const front = bytes.subarray(0, 12);
  if (front.equals(SIGNATURE.subarray(0, front.length))) return parseBinary(bytes);
  if (!'PROXY '.startsWith(front.toString('latin1', 0, 6))) throw new Error(`no PROXY header: ${JSON.stringify(bytes.toString('latin1', 0, 60))}`);
  return parseText(bytes);
}

/** Takes the header off a socket and leaves the rest unread in it. */
function readProxyHeader(socket) {
  return new Promise((resolve, reject) => {
    let got = Buffer.alloc(0);
    const take = (data) => {
      got = Buffer.concat([got, data]);
      let header;
      try {
        header = parseProxyHeader(got);
      } catch (err) {
        reject(err);
        return;
      }
      if (!header) return;
      socket.pause();
      socket.off('data', take).off('end', ended);
      if (got.length > header.size) socket.unshift(got.subarray(header.size));
      resolve(header);
    };
    const ended = () => (got.length > 0 ? reject(new Error('the connection ended in its PROXY header')) : socket.destroy());
    socket.on('data', take).on('end', ended);
  });
}

module.exports = { parseProxyHeader, readProxyHeader };
