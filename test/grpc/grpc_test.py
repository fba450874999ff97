#!/usr/bin/python3
"""Drives the gRPC library's probe server (probe-server.c++) with other people's gRPC clients:
python3-grpcio here, and grpc-go in go/*_test.go, each of whose tests counts as one here.

usage: /usr/bin/python3 test/grpc/grpc_test.py --server PATH_TO_PROBE_SERVER [-k PATTERN] [-v]

Build the server with `bazel build //test/grpc:probe-server`. Needs python3-grpcio, python3-protobuf
and protoc. The Go half is skipped, loudly, where there is no Go or its modules (go/go.mod) can be
had neither from the module cache nor from the proxy. Takes about 20 s, and ends with the counts.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

import grpc

HERE = pathlib.Path(__file__).resolve().parent
PATIENCE = 60
MIB = 1 << 20
SERVICE = "/belay.test.grpc.Probe/"

server_path = None
scratch = tempfile.TemporaryDirectory(prefix="belay-grpc-")


def generate_messages():
    """The Python classes of probe.proto, made by this machine's protoc."""
    subprocess.run(["protoc", f"-I{HERE}", f"--python_out={scratch.name}", "probe.proto"], check=True)
    sys.path.insert(0, scratch.name)
    import probe_pb2

    return probe_pb2


pb = generate_messages()


class Server:
    """A probe server of the test's own."""

    def __init__(self, test):
        folder = tempfile.mkdtemp(prefix="belay-grpc-")
        test.addCleanup(shutil.rmtree, folder)
        self.test = test
        self.socket = f"{folder}/probe.sock"
        self.process = subprocess.Popen([server_path, self.socket], stdout=subprocess.PIPE, text=True)
        test.addCleanup(self.close)
        self.expect("ready")

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def expect(self, line):
        """Waits for the server to print exactly this line next."""
        watchdog = threading.Timer(PATIENCE, self.process.kill)
        watchdog.start()
        try:
            self.test.assertEqual(self.process.stdout.readline().rstrip("\n"), line)
        finally:
            watchdog.cancel()

    def peak_kib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"^VmHWM:\s+(\d+) kB$", status, re.M).group(1))

    def channel(self, *options):
        options += (
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            # Channels with equal options would share a connection.
            ("grpc.use_local_subchannel_pool", 1),
        )
        channel = grpc.insecure_channel(f"unix://{self.socket}", options=options)
        self.test.addCleanup(channel.close)
        return Client(channel)


class Client:
    """The probe service's methods on one channel."""

    def __init__(self, channel):
        self.channel = channel
        self.echo = self.unary("Echo", pb.EchoRequest, pb.EchoReply)
        self.metadata = self.unary("Metadata", pb.MetadataRequest, pb.MetadataReply)
        self.fail = self.unary("Fail", pb.FailRequest, pb.EchoReply)
        self.throw = self.unary("Throw", pb.FailRequest, pb.EchoReply)
        self.hold = self.unary("Hold", pb.HoldRequest, pb.EchoReply)
        self.counters = self.unary("Counters", pb.CountersRequest, pb.CountersReply)
        self.count = self.stream("Count", pb.CountRequest, pb.Item)
        self.hold_stream = self.stream("HoldStream", pb.HoldRequest, pb.Item)

    def unary(self, method, request, reply):
        return self.channel.unary_unary(
            SERVICE + method, request_serializer=request.SerializeToString, response_deserializer=reply.FromString
        )

    def stream(self, method, request, reply):
        return self.channel.unary_stream(
            SERVICE + method, request_serializer=request.SerializeToString, response_deserializer=reply.FromString
        )

    def dropped(self, count):
        """Returns once so many held handlers were dropped on the server."""
        return self.counters(pb.CountersRequest(wait_for_dropped=count), timeout=PATIENCE)


class PythonClient(unittest.TestCase):
    def setUp(self):
        self.server = Server(self)
        self.client = self.server.channel()

    def assert_status(self, error, code, part=""):
        self.assertEqual(error.code(), code, error.details())
        self.assertIn(part, error.details())

    def refused(self, code, part, call):
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        self.assert_status(caught.exception, code, part)
        return caught.exception

    def test_unary(self):
        for payload in (b"", b"hello", bytes(range(256))):
            self.assertEqual(self.client.echo(pb.EchoRequest(payload=payload), timeout=PATIENCE).payload, payload)

    def test_every_code_with_its_utf8_message(self):
        for code in grpc.StatusCode:
            if code is grpc.StatusCode.OK:
                continue
            message = f"žluťoučký kůň 🐎 100% {code.name}"
            request = pb.FailRequest(code=code.value[0], message=message)
            error = self.refused(code, "", lambda: self.client.fail(request, timeout=PATIENCE))
            self.assertEqual(error.details(), message)

    def test_long_message_arrives_cut(self):
        request = pb.FailRequest(code=5, message="é" * 100_000)
        self.refused(grpc.StatusCode.NOT_FOUND, "éé…", lambda: self.client.fail(request, timeout=PATIENCE))

    def test_thrown_exception_is_internal(self):
        request = pb.FailRequest(message="why")
        self.refused(grpc.StatusCode.INTERNAL, "why", lambda: self.client.throw(request, timeout=PATIENCE))

    def test_unimplemented(self):
        nothing = self.client.unary("Nothing", pb.EchoRequest, pb.EchoReply)
        self.refused(grpc.StatusCode.UNIMPLEMENTED, "Nothing", lambda: nothing(pb.EchoRequest(), timeout=PATIENCE))

    def test_a_request_that_is_no_message_is_internal(self):
        echo = self.client.channel.unary_unary(SERVICE + "Echo")
        self.refused(grpc.StatusCode.INTERNAL, "EchoRequest", lambda: echo(b"\xff\xff", timeout=PATIENCE))

    def test_metadata_and_trailers(self):
        traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        reply = self.client.metadata(
            pb.MetadataRequest(), timeout=PATIENCE, metadata=(("traceparent", traceparent),)
        )
        seen = {entry.name: entry.value for entry in reply.entries}
        self.assertEqual(seen["traceparent"], traceparent)
        self.assertIn("grpc-python/", seen["user-agent"])
        self.assertTrue(0 < reply.time_left_ms <= PATIENCE * 1000 + 1000, reply.time_left_ms)
        self.assertEqual(self.client.metadata(pb.MetadataRequest()).time_left_ms, -1)

        request = pb.FailRequest(code=9, trailers={"x-why": "because", "x-raw-bin": "é"})
        error = self.refused(
            grpc.StatusCode.FAILED_PRECONDITION, "", lambda: self.client.fail(request, timeout=PATIENCE)
        )
        trailers = dict(error.trailing_metadata())
        self.assertEqual((trailers["x-why"], trailers["x-raw-bin"]), ("because", "é".encode()))

    def test_gzip(self):
        payload = b"compress me " * 100_000
        reply = self.client.echo(
            pb.EchoRequest(payload=payload), timeout=PATIENCE, compression=grpc.Compression.Gzip
        )
        self.assertEqual(reply.payload, payload)
        bomb = pb.EchoRequest(payload=bytes(17 * MIB))
        self.refused(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "inflates to more than the limit",
            lambda: self.client.echo(bomb, timeout=PATIENCE, compression=grpc.Compression.Gzip),
        )

    def test_unknown_compression_is_unimplemented(self):
        self.refused(
            grpc.StatusCode.UNIMPLEMENTED,
            "deflate",
            lambda: self.client.echo(
                pb.EchoRequest(payload=b"x" * 1000), timeout=PATIENCE, compression=grpc.Compression.Deflate
            ),
        )

    def test_large_messages(self):
        payload = b"0123456789abcde" * MIB
        self.assertEqual(self.client.echo(pb.EchoRequest(payload=payload), timeout=PATIENCE).payload, payload)
        for request, part in (
            (pb.EchoRequest(payload=bytes(17 * MIB)), "the request of 17825797 bytes exceeds"),
            (pb.EchoRequest(reply_bytes=17 * MIB), "the reply of 17825797 bytes exceeds"),
        ):
            self.refused(
                grpc.StatusCode.RESOURCE_EXHAUSTED, part, lambda: self.client.echo(request, timeout=PATIENCE)
            )
        self.client.echo(pb.EchoRequest(), timeout=PATIENCE)

    def test_thousand_concurrent_calls(self):
        payloads = [b"call %d" % i for i in range(1000)]
        calls = [self.client.echo.future(pb.EchoRequest(payload=p), timeout=PATIENCE) for p in payloads]
        self.assertEqual([call.result().payload for call in calls], payloads)

    def test_deadline_drops_the_handler(self):
        self.refused(
            grpc.StatusCode.DEADLINE_EXCEEDED, "", lambda: self.client.hold(pb.HoldRequest(), timeout=0.2)
        )
        self.client.dropped(1)

    def test_cancel_drops_the_handler(self):
        call = self.client.hold.future(pb.HoldRequest())
        self.server.expect("held")
        call.cancel()
        self.client.dropped(1)

    def test_cancel_drops_the_handler_of_a_stream(self):
        stream = self.client.hold_stream(pb.HoldRequest())
        next(stream)
        self.server.expect("held")
        stream.cancel()
        self.client.dropped(1)

    def test_lost_connection_drops_its_handlers(self):
        doomed = self.server.channel()
        call = doomed.hold.future(pb.HoldRequest())
        self.server.expect("held")
        doomed.channel.close()
        self.assertIs(call.code(), grpc.StatusCode.CANCELLED)
        counters = self.client.dropped(1)
        self.assertEqual((counters.held, counters.dropped), (1, 1))

    def test_stream_ends_with_its_status(self):
        stream = self.client.count(pb.CountRequest(count=2, code=15, message="that was all ❄"), timeout=PATIENCE)
        self.assertEqual([next(stream).index, next(stream).index], [0, 1])
        self.refused(grpc.StatusCode.DATA_LOSS, "that was all ❄", lambda: next(stream))
        self.assertEqual(list(self.client.count(pb.CountRequest(), timeout=PATIENCE)), [])

    def test_slow_reader_gets_every_message_in_order(self):
        """20 000 messages of 4 KiB are more than any window: the server must wait for the client."""
        count = 20_000
        stream = self.client.count(pb.CountRequest(count=count, bytes_each=4096), timeout=PATIENCE)
        self.assertEqual(next(stream).index, 0)
        self.assertLess(self.written_when_stalled(), count)
        self.assertEqual([item.index for item in stream], list(range(1, count)))
        self.assertLess(self.server.peak_kib(), 40 * 1024)

    def written_when_stalled(self):
        other = self.server.channel()
        last, same = 0, 0
        while same < 300:
            now = other.counters(pb.CountersRequest(), timeout=PATIENCE).items
            same = same + 1 if now == last else 0
            last = now
        return last

    def test_keepalive_pings_are_answered(self):
        """A client that pings every 100 ms would give a server that does not answer up within 1.1 s."""
        client = self.server.channel(
            ("grpc.keepalive_time_ms", 100),
            ("grpc.keepalive_timeout_ms", 1000),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.keepalive_permit_without_calls", 1),
        )
        call = client.hold.future(pb.HoldRequest())
        self.server.expect("held")
        with self.assertRaises(grpc.FutureTimeoutError):
            call.result(timeout=2.5)
        self.server.process.send_signal(signal.SIGUSR2)
        self.assertEqual(call.result(timeout=PATIENCE).payload, b"released")

    def test_drain(self):
        """A call in progress at SIGTERM ends well, new ones find nobody, and the server ends."""
        was_ready, left = threading.Event(), threading.Event()

        def on_state(state):
            if state is grpc.ChannelConnectivity.READY:
                was_ready.set()
            elif was_ready.is_set():
                left.set()

        self.client.channel.subscribe(on_state)
        held = self.client.hold.future(pb.HoldRequest())
        self.server.expect("held")
        self.assertTrue(was_ready.wait(PATIENCE))
        self.server.process.send_signal(signal.SIGTERM)
        self.server.expect("draining")
        self.assertTrue(left.wait(PATIENCE), "the client got no GOAWAY")
        self.refused(
            grpc.StatusCode.UNAVAILABLE, "", lambda: self.client.echo(pb.EchoRequest(), timeout=PATIENCE)
        )
        self.server.process.send_signal(signal.SIGUSR2)
        self.assertEqual(held.result(timeout=PATIENCE).payload, b"released")
        self.assertEqual(self.server.process.wait(PATIENCE), 0)


class GoModules(Exception):
    pass


def run_go_tests():
    """Runs go/*_test.go in a copy with the generated messages: {test: (passed, its output)}."""
    module = pathlib.Path(scratch.name, "go")
    shutil.copytree(HERE / "go", module)
    environment = dict(os.environ, PROBE_SERVER=server_path, GOFLAGS="-mod=mod")
    plugin = module / "protoc-gen-go"
    build = ["go", "build", "-o", plugin, "google.golang.org/protobuf/cmd/protoc-gen-go"]
    for step in (["go", "mod", "download"], build):
        done = subprocess.run(step, cwd=module, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise GoModules(done.stderr.strip())
    subprocess.run(
        ["protoc", f"-I{HERE}", f"--plugin={plugin}", f"--go_out={module}", "--go_opt=module=belay.test/grpc"]
        + ["probe.proto"],
        check=True,
    )
    done = subprocess.run(
        ["go", "test", "-count=1", "-json", "."], cwd=module, env=environment, capture_output=True, text=True
    )
    passed, output = {}, {}
    for line in done.stdout.splitlines():
        event = json.loads(line)
        name = event.get("Test", "")
        if event["Action"] == "output":
            output[name] = output.get(name, "") + event["Output"]
        elif event["Action"] in ("pass", "fail", "skip"):
            passed[name] = event["Action"] == "pass"
    log = done.stdout + done.stderr
    return {name: (ok, output.get(name) or log) for name, ok in passed.items()}, log


class GoClient(unittest.TestCase):
    """One test for each Test function of go/*_test.go."""

    @classmethod
    def setUpClass(cls):
        if shutil.which("go") is None:
            raise unittest.SkipTest("there is no Go: grpc-go's half of the tests is NOT run")
        try:
            cls.results, cls.log = run_go_tests()
        except GoModules as e:
            raise unittest.SkipTest(f"Go's modules cannot be had, grpc-go's half is NOT run: {e}")


def add_go_test(name):
    def test(self):
        ok, output = self.results.get(name, (False, self.log))
        self.assertTrue(ok, output)

    setattr(GoClient, f"test_{name}", test)


for source in sorted((HERE / "go").glob("*_test.go")):
    for name in re.findall(r"^func (Test\w+)\(", source.read_text(), re.M):
        add_go_test(name)


def main():
    global server_path
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("-k", action="append")
    parser.add_argument("-v", action="store_true")
    arguments = parser.parse_args()
    server_path = str(pathlib.Path(arguments.server).resolve(strict=True))

    loader = unittest.TestLoader()
    loader.testNamePatterns = [f"*{k}*" for k in arguments.k] if arguments.k else None
    suite = loader.loadTestsFromModule(sys.modules["__main__"])
    result = unittest.TextTestRunner(verbosity=2 if arguments.v else 1).run(suite)
    failed = len(result.failures) + len(result.errors)
    for _, reason in result.skipped:
        print(f"SKIPPED: {reason}")
    # A skipped class counts as one skip and none of its tests as run.
    passed = result.testsRun - failed
    print(f"gRPC interoperability: {passed} passed, {failed} failed, {len(result.skipped)} skipped")
    sys.exit(0 if failed == 0 and passed > 0 else 1)


if __name__ == "__main__":
    main()
