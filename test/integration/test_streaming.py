"""Exec, attach and port-forward by crictl, by SPDY and by WebSocket, with the daemon alive, and dead."""
import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import termios
import threading
import time
import unittest
import urllib.parse

import grpc

from harness import leaks, waiting
from harness.case import Case

TRANSPORTS = ("spdy", "websocket")
PATIENCE = 60

def mebibytes():
    """How much goes through one exec; BELAY_STREAM_MIB changes it."""
    return int(os.environ.get("BELAY_STREAM_MIB", "256"))


class EchoServer:
    """Sends back what comes to a port of the loopback address, in the network namespace `netns`."""

    def __init__(self, netns=None, address="127.0.0.1"):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def listen():
            # The namespace is this one thread's, and the socket keeps it.
            if netns:
                with open(netns) as file:
                    if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0x40000000) != 0:
                        raise OSError(ctypes.get_errno(), "setns")
            self.listener = socket.create_server((address, 0), family=family)

        maker = threading.Thread(target=listen)
        maker.start()
        maker.join()
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self.listener.accept()
                threading.Thread(target=self._echo, args=(accepted,), daemon=True).start()

    @staticmethod
    def _echo(connection):
        with connection, contextlib.suppress(OSError):
            while piece := connection.recv(65536):
                connection.sendall(piece)

    def close(self):
        # Wakes the thread that waits in accept().
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Terminal:
    """A command on a pseudo-terminal, as a person has it before him."""

    def __init__(self, command, rows=24, columns=80):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        # By a program, since a preexec_fn means fork(), for which gRPC 1.51 waits until no stream is open.
        self.process = subprocess.Popen(["setsid", "--ctty", *command], stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self.seen = b""

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())

    def expect(self, text, seconds=PATIENCE):
        """Waits until the text is on the screen; what was before it is forgotten, and returned."""
        wanted, end = text.encode(), time.monotonic() + seconds
        while wanted not in self.seen:
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise AssertionError(f"{text!r} did not come, but {self.seen!r}")
            try:
                more = os.read(self.master, 65536)
            except OSError:
                more = b""
            if not more:
                raise AssertionError(f"the terminal ended before {text!r}, after {self.seen!r}")
            self.seen += more
        before, self.seen = self.seen.split(wanted, 1)
        return before.decode("utf-8", "replace")

    def wait(self, seconds=PATIENCE):
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            ready, _, _ = select.select([self.master], [], [], 0.05)
            with contextlib.suppress(OSError):
                if ready:
                    self.seen += os.read(self.master, 65536)
        return self.process.wait(timeout=1)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)


class StreamingCase(Case):
    def setUp(self):
        super().setUp()
        self.only_belay()
        self.processes = []
        self.addCleanup(self.end_processes)

    def end_processes(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    stream.close()

    def command(self, *arguments):
        binary = os.environ.get("BELAY_CRICTL")
        if not binary:
            raise unittest.SkipTest("crictl is missing: Go is not installed (scripts/test builds crictl with it)")
        return [binary, "--config", "/dev/null", "--runtime-endpoint", self.env.daemon.endpoint,
                "--image-endpoint", self.env.daemon.endpoint, "--timeout", "20s", *arguments]

    def start_crictl(self, *arguments, **streams):
        process = subprocess.Popen(self.command(*arguments), **streams)
        self.processes.append(process)
        return process

    def crictl(self, *arguments, data=b""):
        done = subprocess.run(self.command(*arguments), input=data, capture_output=True, timeout=PATIENCE)
        return done.returncode, done.stdout, done.stderr

    def terminal(self, *arguments, **size):
        terminal = Terminal(self.command(*arguments), **size)
        self.addCleanup(terminal.close)
        return terminal

    def running(self, script="exec sleep 1000", **fields):
        pod, config = self.env.run_pod()
        container = self.env.create(pod, config, script=script, **fields)
        self.env.start(container)
        return pod, config, container

    def sessions(self):
        """pids of the daemon's streaming sessions."""
        return [pid for pid, command in leaks.processes(self.env.mark).items()
                if command.startswith("belay-session")]

    def wait_no_sessions(self):
        waiting.until(lambda: not self.sessions(), "the streaming sessions end")

    def url(self, container, tty=False, streams=("stdout",), command=("true",)):
        return self.env.cri.runtime.Exec(container_id=container, cmd=command, tty=tty,
                                         **{name: True for name in streams}).url


class ExecTest(StreamingCase):
    def test_output_and_exit_code(self):
        _, _, container = self.running()
        for transport in TRANSPORTS:
            with self.subTest(transport=transport):
                code, out, err = self.crictl("exec", "--transport", transport, container, "sh", "-c",
                                             "echo out; echo err >&2")
                self.assertEqual((0, b"out\n", b"err\n"), (code, out, err))
                for wanted in (1, 3, 137, 255):
                    code, _, err = self.crictl("exec", "--transport", transport, container,
                                               "sh", "-c", f"exit {wanted}")
                    self.assertNotEqual(0, code)
                    self.assertIn(f"exit code {wanted}".encode(), err)
        self.wait_no_sessions()

    def test_input_to_its_end(self):
        _, _, container = self.running()
        for transport in TRANSPORTS:
            with self.subTest(transport=transport):
                code, out, err = self.crictl("exec", "-i", "--transport", transport, container, "sh", "-c",
                                             "cat; echo late", data=b"hello\n")
                self.assertEqual((0, b"hello\nlate\n", b""), (code, out, err))

    def test_a_command_that_is_not_there(self):
        _, _, container = self.running()
        for transport in TRANSPORTS:
            with self.subTest(transport=transport):
                code, _, err = self.crictl("exec", "--transport", transport, container, "/no/such/command")
                self.assertNotEqual(0, code)
                self.assertIn(b"/no/such/command", err)

    def test_a_shell_on_a_terminal_that_changes_its_size(self):
        _, _, container = self.running()
        for transport in TRANSPORTS:
            with self.subTest(transport=transport):
                terminal = self.terminal("exec", "-it", "--transport", transport, container, "sh", rows=33, columns=111)
                terminal.expect("# ")
                terminal.type("stty size\r")
                # crictl sends its size once the session runs.
                if "33 111" not in terminal.expect("# "):
                    waiting.until(lambda: terminal.type("stty size\r") or "33 111" in terminal.expect("# "), "the size")
                terminal.type("trap 'echo changed' WINCH\r")
                terminal.expect("# ")
                terminal.resize(22, 77)
                os.kill(terminal.process.pid, signal.SIGWINCH)
                waiting.until(lambda: terminal.type("stty size\r") or "22 77" in terminal.expect("# "), "the new size",
                              interval=0.2)
                terminal.type("exit 5\r")
                self.assertNotEqual(0, terminal.wait())
        self.wait_no_sessions()

    def test_interrupt_reaches_the_foreground(self):
        _, _, container = self.running()
        for transport in TRANSPORTS:
            with self.subTest(transport=transport):
                terminal = self.terminal("exec", "-it", "--transport", transport, container, "sh")
                terminal.expect("# ")
                terminal.type("sleep 999\r")
                waiting.until(lambda: "sleep 999" in self.env.exec(container, "ps")[1], "the sleep")
                terminal.type("\x03")
                terminal.expect("# ")
                terminal.type("exit\r")
                terminal.wait()

    def test_many_bytes_both_ways(self):
        _, _, container = self.running()
        size = mebibytes() << 20
        block = os.urandom(1 << 20)
        for transport in TRANSPORTS:
            with self.subTest(transport=transport):
                process = self.start_crictl("exec", "-i", "--transport", transport, container, "cat",
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                sent, got = hashlib.sha256(), hashlib.sha256()

                def feed():
                    for number in range(size >> 20):
                        piece = number.to_bytes(8, "big") + block[8:]
                        sent.update(piece)
                        process.stdin.write(piece)
                    process.stdin.close()

                feeder = threading.Thread(target=feed)
                feeder.start()
                received = 0
                while piece := process.stdout.read(1 << 20):
                    got.update(piece)
                    received += len(piece)
                feeder.join()
                self.assertEqual(0, process.wait(PATIENCE))
                self.assertEqual(size, received)
                self.assertEqual(sent.hexdigest(), got.hexdigest())

    def test_a_client_that_vanishes(self):
        """Its process meets the end of its input and may go on; nothing of the session stays."""
        _, _, container = self.running()
        for transport in TRANSPORTS:
            with self.subTest(transport=transport):
                process = self.start_crictl("exec", "-i", "--transport", transport, container, "sh", "-c",
                                            "echo ready; cat; echo ended > /tmp/" + transport,
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                self.assertEqual(b"ready\n", process.stdout.readline())
                process.kill()
                waiting.until(lambda: self.env.exec(container, "cat", "/tmp/" + transport)[1] == "ended\n", "its end")
                self.wait_no_sessions()
                terminal = self.terminal("exec", "-it", "--transport", transport, container, "sh", "-c",
                                         f"trap 'echo hup > /tmp/hup-{transport}; exit' HUP; echo ready; "
                                         "while :; do sleep 0.01; done")
                terminal.expect("ready")
                terminal.process.kill()
                waiting.until(lambda: self.env.exec(container, "cat", f"/tmp/hup-{transport}")[1] == "hup\n",
                              "a hang-up")
                self.wait_no_sessions()

    def test_the_containers_end_ends_it(self):
        for transport in TRANSPORTS:
            with self.subTest(transport=transport):
                _, _, container = self.running()
                process = self.start_crictl("exec", "--transport", transport, container, "sh", "-c",
                                            "echo ready; sleep 1000", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                self.assertEqual(b"ready\n", process.stdout.readline())
                self.env.cri.runtime.StopContainer(container_id=container, timeout=0)
                self.assertNotEqual(0, process.wait(PATIENCE))
                self.assertIn(b"137", process.stderr.read())


class AttachTest(StreamingCase):
    SHELL = "while read line; do eval \"$line\"; done; echo input ended; exec sleep 1000"

    def attach(self, container, *options):
        return self.start_crictl("attach", "-i", *options, container, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE)

    def say(self, process, text):
        process.stdin.write(text.encode() + b"\n")
        process.stdin.flush()

    def test_several_clients_see_what_comes(self):
        for transport in TRANSPORTS:
            with self.subTest(transport=transport):
                _, config, container = self.running(self.SHELL, stdin=True)
                first = self.attach(container, "--transport", transport)
                self.say(first, "echo one")
                self.assertEqual(b"one\n", first.stdout.readline())
                second = self.attach(container, "--transport", transport)
                self.say(second, "echo two >&2")
                for client in (first, second):
                    self.assertEqual(b"two\n", client.stderr.readline())
                first.kill()
                self.say(second, "echo three; exit 0")
                self.assertEqual(b"three\n", second.stdout.readline())
                self.assertEqual(0, second.wait(PATIENCE))
                self.env.wait_exited(container)
                self.assertEqual(["one", "three", "two"], sorted(text for _, _, text in self.env.log_lines(config)))
        self.wait_no_sessions()

    def test_input_once_ends_with_its_first_client(self):
        for transport in TRANSPORTS:
            with self.subTest(transport=transport):
                _, config, container = self.running(self.SHELL, stdin=True, stdin_once=True)
                # A daemon that comes later gets a duplicate of the input, and must let go of it, too.
                self.restart()
                client = self.attach(container, "--transport", transport)
                self.say(client, "echo hello")
                self.assertEqual(b"hello\n", client.stdout.readline())
                client.stdin.close()
                self.assertEqual(b"input ended\n", client.stdout.readline())
                with self.assertCode(grpc.StatusCode.INVALID_ARGUMENT, "stdin"):
                    _, _, other = self.running()
                    self.env.cri.runtime.Attach(container_id=other, stdin=True)

    def test_a_terminal(self):
        pod, config = self.env.run_pod()
        container = self.env.create(pod, config, config=self.env.container_config(
            command=["sh"], stdin=True, tty=True))
        self.env.start(container)
        for transport in TRANSPORTS:
            with self.subTest(transport=transport):
                terminal = self.terminal("attach", "-it", "--transport", transport, container, rows=31, columns=99)
                waiting.until(lambda: terminal.type("stty size\r") or "31 99" in terminal.expect("# "), "the size",
                              interval=0.2)
                terminal.process.kill()
        self.wait_no_sessions()
        self.assertEqual(self.pb.CONTAINER_RUNNING, self.env.status(container).state)

    def test_a_slow_client_is_cut_and_the_log_goes_on(self):
        # 40 MB: far more than the network's buffers take, which grow to some ten.
        lines = 40_000
        count = f"awk 'BEGIN {{ for (i = 1; i <= {lines}; i++) printf \"%01000d\\n\", i }}'"
        _, config, container = self.running(f"read go; {count}; echo done; exec sleep 1000", stdin=True)
        client = self.attach(container)
        self.say(client, "go")
        # Nobody reads its standard output.
        waiting.until(lambda: ("stdout", "F", "done") in self.env.log_lines(config)[-1:], "the log has all", 60,
                      interval=0.5)
        numbers = [int(text) for _, _, text in self.env.log_lines(config)[:-1]]
        self.assertEqual(list(range(1, lines + 1)), numbers)
        out = client.stdout.read()
        self.assertNotEqual(0, client.wait(PATIENCE))
        self.assertIn(b"too slow", client.stderr.read())
        self.assertEqual(b"".join(b"%01000d\n" % n for n in range(1, lines + 1))[:len(out)], out)


class ForwardingCase(StreamingCase):
    def echo_server(self, pod=None, address="127.0.0.1"):
        """In the pod's network, or in the host's."""
        netns = None
        if pod:
            info = self.env.cri.runtime.PodSandboxStatus(pod_sandbox_id=pod, verbose=True).info["info"]
            namespaces = json.loads(info)["runtimeSpec"]["linux"]["namespaces"]
            netns, = [space["path"] for space in namespaces if space["type"] == "network"]
        server = EchoServer(netns, address)
        self.addCleanup(server.close)
        return server

    def forward(self, pod, transport, port):
        process = self.start_crictl("port-forward", "--transport", transport, pod, f"0:{port}",
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        line = process.stdout.readline().decode()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        self.assertTrue(found, line)
        return process, int(found.group(1))

    def exchange(self, port, data):
        """What an echo server at the forwarded port gives back."""
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
            received = bytearray()

            def read():
                while len(received) < len(data) and (piece := client.recv(65536)):
                    received.extend(piece)

            reader = threading.Thread(target=read)
            reader.start()
            client.sendall(data)
            reader.join(PATIENCE)
            return bytes(received)


class PortForwardTest(ForwardingCase):
    def test_connections_carry_bytes_both_ways(self):
        pod, _ = self.env.run_pod()
        data = os.urandom(1 << 20)
        for transport in TRANSPORTS:
            for address in ("127.0.0.1", "::1"):
                with self.subTest(transport=transport, address=address):
                    server = self.echo_server(pod, address)
                    process, port = self.forward(pod, transport, server.port)
                    self.assertTrue(data == self.exchange(port, data))
                    answers = [None] * 16

                    def one(number):
                        answers[number] = self.exchange(port, data[number:])

                    threads = [threading.Thread(target=one, args=(n,)) for n in range(16)]
                    for thread in threads:
                        thread.start()
                    for thread in threads:
                        thread.join(PATIENCE)
                    for number, answer in enumerate(answers):
                        self.assertTrue(answer == data[number:], f"connection {number}")
                    process.kill()
                    server.close()
        self.wait_no_sessions()

    def test_a_port_where_nobody_listens_harms_no_other(self):
        pod, _ = self.env.run_pod()
        server, deaf = self.echo_server(pod), self.echo_server(pod)
        deaf.close()
        for transport in TRANSPORTS:
            with self.subTest(transport=transport):
                process, port = self.forward(pod, transport, deaf.port)
                with contextlib.suppress(ConnectionError):
                    self.assertEqual(b"", self.exchange(port, b"x"))
                process.kill()
                process, port = self.forward(pod, transport, server.port)
                self.assertEqual(b"hello", self.exchange(port, b"hello"))
                process.kill()
        self.wait_no_sessions()

    def test_a_pod_on_the_hosts_network(self):
        pod, _ = self.env.run_pod(host_network=True)
        server = self.echo_server()
        for transport in TRANSPORTS:
            with self.subTest(transport=transport):
                process, port = self.forward(pod, transport, server.port)
                self.assertEqual(b"hello", self.exchange(port, b"hello"))
                process.kill()
        self.wait_no_sessions()


class DaemonDeathTest(ForwardingCase):
    """Open streams are nothing that a daemon's death could end."""

    def test_all_three_go_on_while_the_daemon_dies_ten_times(self):
        for transport in TRANSPORTS:
            with self.subTest(transport=transport):
                self.survive(transport)

    def survive(self, transport):
        pod, config, container = self.running("i=0; while :; do echo $i; i=$((i+1)); sleep 0.002; done")
        server = self.echo_server(pod)
        terminal = self.terminal("exec", "-it", "--transport", transport, container, "sh")
        terminal.expect("# ")
        attached = self.start_crictl("attach", "--transport", transport, container, stdout=subprocess.PIPE)
        first = int(attached.stdout.readline())
        forward, port = self.forward(pod, transport, server.port)
        stop, errors, carried = threading.Event(), [], [0]

        def load():
            data = os.urandom(1 << 18)
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
                while not stop.is_set():
                    sender = threading.Thread(target=client.sendall, args=(data,))
                    sender.start()
                    received = bytearray()
                    while len(received) < len(data) and (piece := client.recv(65536)):
                        received.extend(piece)
                    sender.join(PATIENCE)
                    if received != data:
                        errors.append(f"{len(received)} bytes came back, or others")
                        return
                    carried[0] += len(data)

        loader = threading.Thread(target=load)
        loader.start()
        sessions = set(self.sessions())
        self.assertEqual(3, len(sessions))
        for death in range(10):
            before = carried[0]
            self.env.daemon.kill()
            terminal.type(f"echo dead-$(({death}+1))\r")
            terminal.expect(f"dead-{death + 1}")
            waiting.until(lambda: carried[0] > before or errors, "bytes are carried without a daemon")
            self.env.daemon.start()
            terminal.type(f"echo alive-$(({death}+1))\r")
            terminal.expect(f"alive-{death + 1}")
        self.assertEqual(sessions, set(self.sessions()))
        stop.set()
        loader.join(PATIENCE)
        self.assertEqual([], errors)
        terminal.type("exit 0\r")
        self.assertEqual(0, terminal.wait())
        self.env.cri.runtime.StopContainer(container_id=container, timeout=0)
        numbers = [first] + [int(line) for line in attached.stdout]
        self.assertEqual(list(range(first, first + len(numbers))), numbers)
        logged = [int(text) for _, _, text in self.env.log_lines(config)]
        self.assertEqual(logged[-1], numbers[-1])
        self.assertEqual(0, attached.wait(PATIENCE))
        forward.kill()
        self.wait_no_sessions()


class TokenTest(StreamingCase):
    def ask(self, url):
        """The status of an upgrade request, as a client's first step."""
        parts = urllib.parse.urlsplit(url)
        self.assertEqual("http", parts.scheme)
        with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE) as client:
            client.sendall(f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: Upgrade\r\n"
                           "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n"
                           "Content-Length: 0\r\n\r\n".encode())
            head = client.recv(65536).decode("latin-1")
        return int(head.split(" ")[1])

    def test_a_token_is_good_once(self):
        _, _, container = self.running()
        url = self.url(container)
        self.assertRegex(url, r"^http://127\.0\.0\.1:\d+/exec/[A-Za-z0-9_-]{43}$")
        self.assertEqual(101, self.ask(url))
        self.assertEqual(404, self.ask(url))
        self.assertEqual(404, self.ask(url[:-1]))
        other = self.url(container)
        self.assertEqual(404, self.ask(other.replace("/exec/", "/attach/")))
        self.assertEqual(101, self.ask(other))
        self.wait_no_sessions()

    def test_a_token_does_not_outlive_its_daemon(self):
        _, _, container = self.running()
        path = urllib.parse.urlsplit(self.url(container)).path
        self.restart()
        base = urllib.parse.urlsplit(self.url(container))
        self.assertEqual(404, self.ask(f"http://{base.netloc}{path}"))
        self.wait_no_sessions()

    def test_a_thousand_may_wait(self):
        _, _, container = self.running()
        self.restart()
        urls = [self.url(container) for _ in range(1000)]
        self.assertEqual(1000, len(set(urls)))
        with self.assertCode(grpc.StatusCode.RESOURCE_EXHAUSTED):
            self.url(container)
        self.assertEqual(101, self.ask(urls[0]))
        self.url(container)
        self.restart()
        self.wait_no_sessions()

    def test_what_cannot_be_streamed_is_refused(self):
        pod, config, container = self.running()
        with self.assertCode(grpc.StatusCode.INVALID_ARGUMENT, "stderr"):
            self.url(container, tty=True, streams=("stdout", "stderr"))
        with self.assertCode(grpc.StatusCode.INVALID_ARGUMENT, "stdin"):
            self.url(container, streams=())
        with self.assertCode(grpc.StatusCode.INVALID_ARGUMENT, "port[1]"):
            self.env.cri.runtime.PortForward(pod_sandbox_id=pod, port=[80, 65536])
        with self.assertCode(grpc.StatusCode.NOT_FOUND):
            self.url("no-such-container")
        created = self.env.create(pod, config, name="other")
        with self.assertCode(grpc.StatusCode.FAILED_PRECONDITION):
            self.url(created)
        self.env.cri.runtime.StopPodSandbox(pod_sandbox_id=pod)
        with self.assertCode(grpc.StatusCode.FAILED_PRECONDITION):
            self.env.cri.runtime.PortForward(pod_sandbox_id=pod, port=[80])

    def test_a_container_that_went_meanwhile(self):
        _, _, container = self.running()
        url = self.url(container)
        self.env.cri.runtime.StopContainer(container_id=container, timeout=0)
        # The client learns it on its error stream.
        self.assertEqual(101, self.ask(url))
        self.wait_no_sessions()

    def test_sessions_have_a_cgroup_of_their_own(self):
        _, _, container = self.running()
        process = self.start_crictl("exec", container, "sh", "-c", "echo ready; sleep 1000", stdout=subprocess.PIPE)
        self.assertEqual(b"ready\n", process.stdout.readline())
        session, = self.sessions()
        paths = [line.split(":", 2)[2] for line in pathlib.Path(f"/proc/{session}/cgroup").read_text().splitlines()]
        self.assertIn(f"/{self.env.mark}/sessions", paths)
        process.kill()
        self.wait_no_sessions()


class TlsTest(StreamingCase):
    """With a certificate the URLs are https, and a new certificate counts from the next connection on."""

    def setUp(self):
        super().setUp()
        if not shutil.which("openssl"):
            self.skipTest("openssl is missing: certificates cannot be made")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="belay-tls-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.config = self.env.daemon.folder / "config.toml"
        before = self.config.read_text()

        def restore():
            self.config.write_text(before)
            self.restart()

        self.addCleanup(restore)

    def make_certificate(self, name):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
             "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1",
             "-keyout", self.folder / "key.new", "-out", self.folder / "cert.new"], check=True, capture_output=True)
        for file in ("key", "cert"):
            os.rename(self.folder / f"{file}.new", self.folder / f"{file}.pem")

    def ask(self, url):
        """The first line of the answer to a client that trusts the present certificate alone."""
        parts = urllib.parse.urlsplit(url)
        self.assertEqual("https", parts.scheme)
        context = ssl.create_default_context(cafile=str(self.folder / "cert.pem"))
        with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE) as plain:
            with context.wrap_socket(plain, server_hostname=parts.hostname) as client:
                client.sendall(f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: Upgrade\r\n"
                               "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n"
                               "Content-Length: 0\r\n\r\n".encode())
                return client.recv(65536).split(b"\r\n")[0]

    def test_each_connection_has_the_certificate_of_its_time(self):
        self.make_certificate("first")
        self.config.write_text(f"[streaming]\ntls_cert = '{self.folder}/cert.pem'\n"
                               f"tls_key = '{self.folder}/key.pem'\n")
        self.restart()
        _, _, container = self.running()
        self.assertIn(b" 101 ", self.ask(self.url(container)))
        self.make_certificate("second")
        self.assertIn(b" 101 ", self.ask(self.url(container)))
        self.wait_no_sessions()
