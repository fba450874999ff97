"""A client of Kubernetes' remote commands by WebSocket, as far as tests need one (RFC 6455, v5.channel.k8s.io)."""
import base64
import json
import os
import struct

PROTOCOL = "v5.channel.k8s.io"
BINARY, CLOSE, PING, PONG = 2, 8, 9, 10
STDIN, STDOUT, STDERR, STATUS, RESIZE, END = 0, 1, 2, 3, 4, 255


class RemoteCommand:
    """One exec or attach on an http.client connection; `path` holds the query."""

    def __init__(self, connection, path):
        key = base64.b64encode(os.urandom(16)).decode()
        connection.putrequest("GET", path)
        for name, value in (
            ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", key), ("Sec-WebSocket-Protocol", PROTOCOL),
        ):
            connection.putheader(name, value)
        connection.endheaders()
        # What follows the head stays unread: the frames are read from the same buffered file.
        self.connection, self.socket = connection, connection.sock
        self.file = self.socket.makefile("rb")
        self.head = self._read_head()
        assert self.head[0].split()[1] == "101", (self.head, self.file.read(2000))
        assert any(line.lower() == f"sec-websocket-protocol: {PROTOCOL}" for line in self.head), self.head
        self.output = {STDOUT: b"", STDERR: b"", STATUS: b""}

    def _read_head(self):
        lines = []
        while line := self.file.readline().decode().strip():
            lines.append(line)
        return lines

    def _send(self, opcode, payload):
        mask = os.urandom(4)
        head = bytes([0x80 | opcode])
        head += bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
        self.socket.sendall(head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)))

    def write(self, data):
        """At most 65534 bytes of standard input."""
        self._send(BINARY, bytes([STDIN]) + data)

    def end_input(self):
        self._send(BINARY, bytes([END, STDIN]))

    def resize(self, columns, rows):
        self._send(BINARY, bytes([RESIZE]) + json.dumps({"Width": columns, "Height": rows}).encode())

    def _frame(self):
        """(opcode, payload), or None at the end of the connection."""
        head = self.file.read(2)
        if len(head) < 2:
            return None
        size = head[1] & 0x7F
        if size >= 126:
            width = 2 if size == 126 else 8
            size = int.from_bytes(self.file.read(width), "big")
        return head[0] & 0x0F, self.file.read(size)

    def read_until(self, condition):
        """Reads frames until `condition()` is true or the other side has ended; whether it became true."""
        while not condition():
            frame = self._frame()
            if frame is None or frame[0] == CLOSE:
                return condition()
            opcode, payload = frame
            if opcode == PING:
                self._send(PONG, payload)
            elif payload and payload[0] in self.output:
                self.output[payload[0]] += payload[1:]
        return True

    def finish(self):
        """Reads to the end; (stdout, stderr, the Status object)."""
        self.read_until(lambda: False)
        self.file.close()
        self.connection.close()
        return self.output[STDOUT], self.output[STDERR], json.loads(self.output[STATUS])
