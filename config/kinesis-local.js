// Runs kinesis-local on 127.0.0.1 alone and without TLS, and without hashing its records.
//
// By itself it listens on every address of the machine. And it hashes, for each record that is put, all
// records of the shard, as the key of a map that has one for each shard: 10,000 records make it four
// times slower.
//
//   node config/kinesis-local.js target/test-tools/node_modules/kinesis-local
//
// KINESIS_MOCK_PLAIN_PORT may be 0: the first line of output says on which port it listens. With
// CLICKGATE_END_WITH_STDIN=1 it ends when its standard input does, so as not to outlive whoever
// started it, even if that one is killed. SIGTERM ends it once what it has is written down.
'use strict';
const fs = require('node:fs');
const Module = require('node:module');
const net = require('node:net');
const path = require('node:path');

const plainPort = Number((process.env.KINESIS_MOCK_PLAIN_PORT ??= '4568'));
// It would also listen with TLS; no server has this port, by which the two are told apart.
const noPort = 1;
process.env.KINESIS_MOCK_TLS_PORT = String(noPort);

// By itself it would stop to write down at once when it is told to end, and serve open connections for
// as long as they last. So it is not told: connections are cut, and it ends once all is written.
const sockets = new Set();
const { exit } = process;
process.on('SIGTERM', () => {
  isEnding = true;
  sockets.forEach((socket) => socket.destroy());
  // It writes down what it keeps every 5 s.
  setTimeout(() => exit.call(process), process.env.SHOULD_PERSIST_DATA === 'true' ? 6_000 : 0);
});
let isEnding = false;
for (const name of ['on', 'once', 'addListener']) {
  const add = process[name];
  process[name] = function (event, listener) {
    return event === 'SIGTERM' ? this : add.call(this, event, listener);
  };
}

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, listening) {
  if (port === noPort) {
    this.address = () => ({ address: '127.0.0.1', family: 'IPv4', port });
    process.nextTick(listening);
    return this;
  }
  if (port !== plainPort) {
    throw new Error(`kinesis-local listens on ${port}, which is not its plain port ${plainPort}`);
  }
  this.on('connection', (socket) => {
    if (isEnding) {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  return listen.call(this, { port, host: '127.0.0.1' }, () => {
    console.log(`listening on 127.0.0.1:${this.address().port}`);
    listening();
  });
};

if (process.env.CLICKGATE_END_WITH_STDIN === '1') {
  process.stdin.resume().on('end', () => process.exit()).on('error', () => process.exit());
}

// The hash of a shard and its records becomes that of the shard. Equal pairs still have equal hashes.
function withoutHashingRecords(source) {
  const slow = 'return $m_s_util_hashing_MurmurHash3$().Q(this, (-116390334), true);';
  if (source.split(slow).length !== 2) {
    throw new Error('this is not the kinesis-local that config/install installs: it hashes pairs otherwise');
  }
  return source.replace(slow, () => 'return $m_sr_Statics$().E(this.m());');
}

// It reads server.json from the folder in which it runs.
process.chdir(process.argv[2]);
const file = path.join(process.cwd(), 'main.js');
const main = new Module(file);
main.filename = file;
main._compile(withoutHashingRecords(fs.readFileSync(file, 'utf8')), file);
