# stomp.py for the tests: publish what standard input says, or read a queue until it is empty.
import json
import sys
import threading

import stomp

mode, port, login = sys.argv[1:4]


class Listener(stomp.ConnectionListener):
    def __init__(self):
        self.receipts, self.errors, self.messages = threading.Semaphore(0), [], []
        self.something = threading.Event()

    def on_receipt(self, frame):
        self.receipts.release()

    def on_error(self, frame):
        self.errors.append(frame.headers)
        self.receipts.release()

    def on_message(self, frame):
        self.messages.append(frame)
        self.something.set()


def connect(with_length):
    # Bytes come as they are: a body need not be text.
    connection = stomp.Connection12([("127.0.0.1", int(port))], auto_content_length=with_length, auto_decode=False)
    listener = Listener()
    connection.set_listener("", listener)
    user, _, password = login.partition(":")
    connection.connect(user or None, password or None, wait=True)
    return connection, listener


if mode == "publish":
    # A message with a content-length is a BytesMessage, one without a TextMessage.
    texts, texts_listener = connect(False)
    bytes_, bytes_listener = connect(True)
    sent = 0
    used = {}
    for line in sys.stdin:
        message = json.loads(line)
        headers = {"persistent": "true", **message.get("headers", {})}
        if "hex" in message or "repeat" in message:
            connection, listener = bytes_, bytes_listener
            body = bytes.fromhex(message.get("hex", "")) or b"x" * message["repeat"]
        else:
            connection, listener, body = texts, texts_listener, message["text"]
        if connection not in used:
            used[connection] = [connection.begin(), 0, listener]
        open_ = used[connection]
        connection.send(message["to"], body, headers=headers, transaction=open_[0])
        open_[1] += 1
        if open_[1] % 500 == 0:
            connection.commit(open_[0], receipt="c")
            listener.receipts.acquire()
            open_[0] = connection.begin()
        sent += 1
    for connection, (transaction, _, listener) in used.items():
        connection.commit(transaction, receipt="c")
        listener.receipts.acquire()
        assert not listener.errors, listener.errors
    print("sent", sent)
else:
    connection, listener = connect(True)
    connection.subscribe(sys.argv[4], id="r", ack="client-individual")
    known = 0
    while listener.something.wait(1.5):
        listener.something.clear()
    for frame in listener.messages:
        body = frame.body if isinstance(frame.body, bytes) else frame.body.encode()
        if mode == "read":
            connection.ack(frame.headers["ack"])
        print(json.dumps({"headers": frame.headers, "hex": body.hex()}))
    connection.disconnect(receipt="bye")
    listener.receipts.acquire(timeout=5)
