"""What systemd does for a service: sockets it listens on, a descriptor store, and news of its state."""
import os
import socket
import subprocess
import sys
import threading

# LISTEN_PID is the started process's own pid, and the descriptors are its 3, 4, 5 and so on.
LAUNCHER = """
import fcntl, os, sys, time
count = int(sys.argv[1])
given = int(os.environ.pop("STARTED_FD"))
started = fcntl.fcntl(given, fcntl.F_DUPFD_CLOEXEC, 1000)
os.close(given)
moved = [fcntl.fcntl(int(fd), fcntl.F_DUPFD_CLOEXEC, 1000) for fd in sys.argv[2:2 + count]]
for number, fd in enumerate(moved, 3):
    os.dup2(fd, number)
if count:
    os.environ["LISTEN_PID"] = str(os.getpid())
os.write(started, str(time.monotonic_ns()).encode())
os.execv(sys.argv[2 + count], sys.argv[2 + count:])
"""


class ServiceManager:
    """Keeps `sockets` (name -> listening socket) and what is stored, over any number of starts."""

    def __init__(self, folder, sockets=None):
        self.sockets = sockets or {}
        self.store = {}  # name -> descriptor
        self.messages = []
        self.started = os.open("/dev/null", os.O_RDONLY)
        self.path = os.path.join(folder, "notify.sock")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self):
        while True:
            data, fds, _, _ = socket.recv_fds(self.socket, 4096, 8)
            if not data:
                return
            fields = dict(line.split("=", 1) for line in data.decode().splitlines())
            name = fields.get("FDNAME")
            if fields.get("FDSTORE") == "1":
                self.store[name] = fds[0]
            elif fields.get("FDSTOREREMOVE") == "1":
                if name in self.store:
                    os.close(self.store.pop(name))
            else:
                self.messages.append(fields)

    def launch(self, arguments, log):
        """Starts the service with all there is for it."""
        given = [(name, one.fileno()) for name, one in self.sockets.items()] + list(self.store.items())
        fds = [fd for _, fd in given]
        os.close(self.started)
        self.started, report = os.pipe()
        environment = dict(os.environ, NOTIFY_SOCKET=self.path, STARTED_FD=str(report))
        if given:
            environment.update(LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=":".join(name for name, _ in given))
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, str(len(fds)), *map(str, fds), *arguments],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, pass_fds=[*fds, report], env=environment,
        )
        os.close(report)
        return process

    def executed_at(self):
        """When the service's program was executed last, on CLOCK_MONOTONIC in nanoseconds."""
        return int(os.read(self.started, 100))

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.path)
        self.thread.join()
        self.socket.close()
        os.unlink(self.path)
        os.close(self.started)
        for fd in self.store.values():
            os.close(fd)
        for one in self.sockets.values():
            one.close()


def listening_unix(path):
    if os.path.exists(path):
        os.unlink(path)
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # By way of the folder: the path may be too long.
    folder = os.open(os.path.dirname(path), os.O_PATH)
    one.bind(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
    os.close(folder)
    one.listen(1024)
    return one


def waiting_connections(path):
    """How many connections to a listening Unix socket nobody has accepted yet."""
    output = subprocess.run(["ss", "-xlnH"], capture_output=True, text=True, check=True).stdout
    rows = [row.split() for row in output.splitlines()]
    return sum(int(row[2]) for row in rows if len(row) > 4 and row[4].endswith("/" + path.name))
