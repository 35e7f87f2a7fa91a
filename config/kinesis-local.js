// Runs kinesis-local, which listens on every address of the machine, on 127.0.0.1 alone and without TLS.
//
//   node config/kinesis-local.js target/test-tools/node_modules/kinesis-local
//
// KINESIS_MOCK_PLAIN_PORT may be 0: the first line of output says on which port it listens. With
// CLICKGATE_END_WITH_STDIN=1 it ends when its standard input does, so as not to outlive whoever
// started it, even if that one is killed.
'use strict';
const net = require('node:net');
const path = require('node:path');

const plainPort = Number((process.env.KINESIS_MOCK_PLAIN_PORT ??= '4568'));
// It would also listen with TLS; no server has this port, by which the two are told apart.
const noPort = 1;
process.env.KINESIS_MOCK_TLS_PORT = String(noPort);

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
  return listen.call(this, { port, host: '127.0.0.1' }, () => {
    console.log(`listening on 127.0.0.1:${this.address().port}`);
    listening();
  });
};

if (process.env.CLICKGATE_END_WITH_STDIN === '1') {
  process.stdin.resume().on('end', () => process.exit()).on('error', () => process.exit());
}

// It reads server.json from the folder in which it runs.
process.chdir(process.argv[2]);
require(path.join(process.cwd(), 'main.js'));
