"""belayd becomes another program: its clients lose no call, its containers notice nothing."""
import http.client
import os
import pathlib
import select
import subprocess
import threading
import time
import urllib.parse

import grpc

from harness import leaks, waiting
from harness.case import Case
from harness.cri import Cri
from harness.registry import Image
from harness.websocket import RemoteCommand


class Caller(threading.Thread):
    """Calls every millisecond until it is stopped; `errors` are those of calls."""

    def __init__(self, endpoint, fresh):
        super().__init__(daemon=True)
        self.endpoint, self.fresh = endpoint, fresh
        self.calls, self.errors, self.slowest = 0, [], 0.0
        self.over = threading.Event()
        self.kept = Cri(endpoint, eager=False)
        self.start()

    def run(self):
        while not self.over.wait(0.001):
            client = Cri(self.endpoint, eager=False) if self.fresh else self.kept
            began = time.monotonic()
            try:
                client.runtime.Version()
                client.runtime.ListContainers()
            except grpc.RpcError as error:
                self.errors.append(error)
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.calls += 1
            if self.fresh:
                client.close()

    def stop(self):
        self.over.set()
        self.join()
        self.kept.close()


class UpgradeTest(Case):
    def setUp(self):
        super().setUp()
        self.only_belay()
        # A client that waits for an answer, as the kubelet's does.
        self.daemon = self.env.daemon
        self.daemon.cri.close()
        self.daemon.cri = Cri(self.daemon.endpoint, eager=False)

    def upgrade(self, program=None):
        command = [*self.daemon.arguments, "upgrade", *([str(program)] if program else [])]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def upgraded(self, program=None):
        result = self.upgrade(program)
        self.assertEqual(0, result.returncode, result.stderr + self.daemon.log_tail())
        return result.stdout

    def next_version(self):
        """A belayd that says another version, with the others beside it."""
        folder = self.daemon.folder / "next"
        if not folder.exists():
            folder.mkdir()
            for name in ("belay-shim", "belay-pull", "belay-session"):
                (folder / name).symlink_to(self.daemon.programs / name)
            program = (self.daemon.programs / "belayd").read_bytes()
            self.assertIn(b"\x000.1.0\x00", program)
            (folder / "belayd").write_bytes(program.replace(b"\x000.1.0\x00", b"\x000.1.1\x00"))
            (folder / "belayd").chmod(0o755)
        return folder / "belayd"

    def running(self, **fields):
        pod, config = self.env.run_pod()
        container = self.env.create(pod, config, **fields)
        self.env.start(container)
        return pod, config, container

    def wait_for_one_process(self):
        """The process that relays for the former one's clients ends with the last of them."""
        # Its client reads only while it calls, and has to hear of the new one.
        self.env.cri.runtime.Version()
        mine = os.path.basename(self.daemon.arguments[0])

        def alone():
            pids = [pid for pid, command in leaks.processes(self.env.mark).items() if f"/{mine} " in command]
            return pids == [self.daemon.process.pid]

        waiting.until(alone, "nothing but the new belayd is left", 20)

    def test_a_client_that_calls_every_millisecond_sees_no_error(self):
        pod, config, container = self.running(script="i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done")
        callers = [Caller(self.daemon.endpoint, fresh) for fresh in (False, True)]
        waiting.until(lambda: all(caller.calls > 20 for caller in callers), "the clients call")
        try:
            self.assertEqual("belayd 0.1.0 became belayd 0.1.1\n", self.upgraded(self.next_version()))
            self.assertEqual("0.1.1", self.env.cri.runtime.Version().runtime_version)
            # The next one's own path is now that other program's.
            self.assertEqual("belayd 0.1.1 became belayd 0.1.1\n", self.upgraded())
            self.assertEqual("belayd 0.1.1 became belayd 0.1.0\n", self.upgraded(self.daemon.programs / "belayd"))
            count = [caller.calls for caller in callers]
            waiting.until(lambda: all(c.calls > n + 20 for c, n in zip(callers, count)), "the clients go on")
        finally:
            for caller in callers:
                caller.stop()
        for caller in callers:
            self.assertEqual([], caller.errors, f"of {caller.calls} calls; fresh: {caller.fresh}")
        self.assertIsNone(self.daemon.process.poll(), "the process stays")
        self.wait_for_one_process()
        numbers = [int(text) for _, _, text in self.env.log_lines(config)]
        self.assertConsecutive(numbers)
        self.assertEqual((0, "still here\n", ""), self.env.exec(container, "echo", "still here"))
        print(f"slowest pair of calls: {max(c.slowest for c in callers) * 1000:.0f} ms", flush=True)

    def test_calls_under_way_get_their_results(self):
        pod, config, container = self.running(script="trap '' TERM; while :; do sleep 0.05; done")
        runtime = self.env.cri.runtime
        executed = runtime.ExecSync.future(
            container_id=container, timeout=30,
            cmd=["/bin/sh", "-c", "echo x >> /tmp/count; while [ ! -e /tmp/go ]; do sleep 0.01; done; echo done"],
        )
        waiting.until(lambda: self.env.exec(container, "cat", "/tmp/count")[0] == 0, "the command runs")
        # Longer than an upgrade waits for what is under way.
        stopped = runtime.StopContainer.future(container_id=container, timeout=6)
        waiting.until(lambda: self.stops(), "the container is being stopped")
        self.upgraded()
        self.assertFalse(executed.done())
        self.assertFalse(stopped.done())
        self.assertEqual(0, self.env.exec(container, "touch", "/tmp/go")[0])
        self.assertEqual(b"done\n", executed.result().stdout)
        self.assertEqual((0, "x\n", ""), self.env.exec(container, "cat", "/tmp/count"))
        stopped.result()
        self.assertEqual(137, self.env.status(container).exit_code)
        self.env.remove_pod(pod)
        self.wait_for_one_process()

    def stops(self):
        ctl = [self.daemon.programs / "belayctl", "--state", self.daemon.state, "operations"]
        return "stop-container" in subprocess.run(ctl, capture_output=True, text=True, check=True).stdout

    def test_urls_and_streams_of_before_are_good_after(self):
        pod, config, container = self.running(script="sleep 1000")
        runtime = self.env.cri.runtime
        unused = runtime.Exec(container_id=container, cmd=["echo", "late"], stdout=True).url
        open_stream = self.connect(runtime.Exec(container_id=container, cmd=["cat"], stdin=True, stdout=True).url)
        open_stream.write(b"before\n")
        # A session that has not asked yet what its token is for: its client is slow.
        slow = self.raw(runtime.Exec(container_id=container, cmd=["echo", "slow"], stdout=True).url)
        waiting.until(lambda: self.sessions() == 2, "both sessions run")
        self.upgraded(self.next_version())
        open_stream.write(b"after\n")
        open_stream.end_input()
        self.assertEqual(b"before\nafter\n", open_stream.finish()[0])
        self.assertEqual(b"late\n", self.connect(unused).finish()[0])
        connection, path = slow
        self.assertEqual(b"slow\n", RemoteCommand(connection, path).finish()[0])
        waiting.until(lambda: self.sessions() == 0, "the sessions end")
        self.upgraded(self.daemon.programs / "belayd")
        self.wait_for_one_process()

    def test_sessions_that_outlived_a_belayd_count_among_the_sessions(self):
        config = pathlib.Path(self.daemon.folder) / "config.toml"
        before = config.read_text()
        config.write_text("[streaming]\nmax_sessions = 1\n")
        self.addCleanup(self.env.restart)
        self.addCleanup(config.write_text, before)
        pod, _, container = self.running(script="sleep 1000")
        for replace in (self.env.restart, self.upgraded):
            self.env.restart()
            first = self.connect(self.env.cri.runtime.Exec(container_id=container, cmd=["cat"], stdin=True).url)
            replace()
            url = self.env.cri.runtime.Exec(container_id=container, cmd=["echo", "second"], stdout=True).url
            second, path = self.raw(url)
            second.putrequest("GET", path)
            second.endheaders()
            # Whoever comes beyond the limit waits in the kernel's queue.
            self.assertEqual(([], [], []), select.select([second.sock], [], [], 0.3))
            first.end_input()
            first.finish()
            self.assertTrue(second.sock.recv(1))
            second.close()
        self.env.remove_pod(pod)

    def sessions(self):
        return sum("belay-session" in command for command in leaks.processes(self.env.mark).values())

    def raw(self, url):
        parts = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        connection.connect()
        return connection, f"{parts.path}?{parts.query}" if parts.query else parts.path

    def connect(self, url):
        return RemoteCommand(*self.raw(url))

    def test_what_cannot_take_over_leaves_the_old_one_running(self):
        folder = pathlib.Path(self.daemon.folder)
        script = folder / "not-belayd"
        script.write_text("#!/bin/sh\necho this is no belayd >&2\nexit 3\n")
        script.chmod(0o755)
        text = folder / "text"
        text.write_text("no program")
        for program, words in ((script, "this is no belayd"), ("/bin/true", "cannot take over"), (text, "cannot start")):
            result = self.upgrade(program)
            self.assertEqual(1, result.returncode)
            self.assertIn(words, result.stderr)
        other = folder / "empty.toml"
        other.write_text("")
        config = folder / "config.toml"
        before = config.read_text()
        for bad, words in (
            ("nonsense = 1\n", "nonsense"),
            ('[streaming]\naddress = "127.0.0.1:9"\n', "streaming.address"),
        ):
            config.write_text(bad)
            try:
                # The operator's command reads another one.
                ask = [self.daemon.arguments[0], "--config", str(other), "--state", str(self.daemon.state), "upgrade"]
                result = subprocess.run(ask, capture_output=True, text=True, timeout=60)
            finally:
                config.write_text(before)
            self.assertEqual(1, result.returncode)
            self.assertIn(words, result.stderr)
        self.assertEqual("belay", self.env.cri.runtime.Version().runtime_name)
        self.assertNotIn("becoming another program", self.daemon.log_tail(10))
        self.upgraded()
        self.wait_for_one_process()

    def test_a_pod_that_takes_longer_than_an_upgrade_waits_is_made_by_the_next(self):
        """Its plug-in hangs in the old belayd; the client waits for one answer, and gets it."""
        plugin = self.daemon.plugins / "bridge"
        gate = self.daemon.folder / "gate"
        plugin.parent.mkdir(exist_ok=True)
        plugin.write_text(
            f"#!/bin/sh\nif [ $CNI_COMMAND = ADD ]; then touch {gate}.reached; while [ ! -e {gate} ]; do sleep 0.02; done; fi\n"
            "exec /usr/lib/cni/bridge\n"
        )
        plugin.chmod(0o755)
        self.addCleanup(plugin.unlink)
        config = self.env.pod_config()
        made = self.env.cri.runtime.RunPodSandbox.future(config=config)
        waiting.until(pathlib.Path(f"{gate}.reached").exists, "the plug-in runs")
        self.upgraded()
        self.assertFalse(made.done())
        gate.touch()
        pod = made.result().pod_sandbox_id
        self.assertEqual([pod], [one.id for one in self.env.cri.runtime.ListPodSandbox().items])
        self.assertEqual(self.pb.SANDBOX_READY, self.env.cri.runtime.PodSandboxStatus(pod_sandbox_id=pod).status.state)
        container = self.env.create(pod, config, script="sleep 1000")
        self.env.start(container)
        self.assertEqual(0, self.env.exec(container, "true")[0])
        self.env.remove_pod(pod)
        self.assertEqual(set(), self.env.leases())
        self.wait_for_one_process()

    def test_pods_and_pulls_under_way_are_made(self):
        image = Image(self.env.busybox_layers("upgrade-under-way"), {"Cmd": ["true"]})
        reference = self.env.registry.push(image, "test/under-way", "1")
        config = self.env.pod_config()
        for _ in range(3):
            pulled = self.env.cri.image.PullImage.future(image=self.pb.ImageSpec(image=reference))
            pod = self.env.cri.runtime.RunPodSandbox.future(config=config)
            self.upgraded()
            image = pulled.result().image_ref
            self.assertIn(image, [one.id for one in self.env.cri.image.ListImages().images])
            pod = pod.result().pod_sandbox_id
            self.assertEqual([pod], [one.id for one in self.env.cri.runtime.ListPodSandbox().items])
            stopped = self.env.cri.runtime.StopPodSandbox.future(pod_sandbox_id=pod)
            self.upgraded()
            stopped.result()
            self.env.cri.runtime.RemovePodSandbox(pod_sandbox_id=pod)
            self.env.cri.image.RemoveImage(image=self.pb.ImageSpec(image=image))
        self.wait_for_one_process()
