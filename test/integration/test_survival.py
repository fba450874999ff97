"""What survives which death: the cells of README's table."""
import http.client
import os
import re
import signal
import urllib.parse

import grpc

from harness import waiting
from harness.case import Case
from harness.environment import runs
from harness.service_manager import ServiceManager
from harness.websocket import STDOUT, RemoteCommand

COUNT = "trap 'exit 42' TERM; i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done"
TERMINAL = "trap 'exit 3' HUP; echo begun; while :; do sleep 0.01; done"
INPUT = "read line && echo got $line || echo ended; sleep 1000"
GOES = "while [ ! -e /tmp/go ]; do sleep 0.01; done; echo last words; exit 7"


class SurvivalTest(Case):
    def setUp(self):
        super().setUp()
        self.only_belay()
        self.daemon = self.env.daemon

    def use_store(self):
        self.daemon.stop()
        manager = ServiceManager(self.daemon.folder, {})
        self.daemon.manager = manager
        self.addCleanup(self.end_manager, manager)
        self.daemon.start()
        return manager

    def end_manager(self, manager):
        self.env.remove_everything()
        self.daemon.stop()
        self.daemon.manager = None
        manager.close()
        self.daemon.start()

    def begin(self):
        env = self.env
        self.pod, self.config = env.run_pod()
        self.containers = {
            "counter": self.create("counter", COUNT),
            "terminal": self.create("terminal", TERMINAL, tty=True),
            "input": self.create("input", INPUT, stdin=True),
            "goes": self.create("goes", GOES),
            "waits": self.create("waits", "echo ran; exit 9"),
        }
        for name in ("counter", "terminal", "input", "goes"):
            env.start(self.containers[name])
        waiting.until(lambda: self.lines("terminal") == ["begun"], "the terminal's container runs")
        self.grows()
        self.pids = {name: self.env.pid(self.containers[name]) for name in ("counter", "terminal", "input", "goes")}

    def create(self, name, script, **fields):
        return self.env.create(self.pod, self.config, name=name, script=script, **fields)

    def lines(self, name):
        return [text.rstrip("\r") for _, _, text in self.env.log_lines(self.config, name)]

    def grows(self):
        count = len(self.lines("counter"))
        waiting.until(lambda: len(self.lines("counter")) > count + 10, "more lines")

    def kill(self, *who):
        """Whoever is killed, "goes" ends meanwhile; at last belayd and the shim are there again."""
        shims = self.daemon.shims()
        if "belayd" in who:
            self.daemon.kill()
        if "shim" in who:
            os.kill(shims[0], signal.SIGKILL)
            waiting.until(lambda: shims[0] not in self.daemon.shims(), "the shim is dead")
        with open(f"/proc/{self.pids['goes']}/root/tmp/go", "w"):
            pass
        waiting.until(lambda: not runs(self.pids["goes"]), "the container ends")
        if "belayd" in who:
            self.daemon.start()
        waiting.until(self.daemon.shims, "a shim")

    def check_what_always_survives(self):
        env = self.env
        self.assertEqual(self.pb.CONTAINER_RUNNING, env.status(self.containers["counter"]).state)
        self.grows()
        env.cri.runtime.StopContainer(container_id=self.containers["counter"], timeout=20)
        self.assertEqual(42, env.status(self.containers["counter"]).exit_code)
        self.assertConsecutive([int(text) for text in self.lines("counter") if re.fullmatch(r"\d+", text)])
        self.assertEqual(7, env.wait_exited(self.containers["goes"]).exit_code)

    def check_all_survive(self):
        env = self.env
        self.check_what_always_survives()
        waiting.until(lambda: self.lines("goes") == ["last words"], "the last words")
        self.assertEqual(self.pb.CONTAINER_RUNNING, env.status(self.containers["terminal"]).state)
        self.assertEqual((0, "", ""), env.exec(self.containers["terminal"], "true"))
        self.assertEqual(self.pb.CONTAINER_RUNNING, env.status(self.containers["input"]).state)
        self.assertEqual([], self.lines("input"), "it still waits for input")
        env.start(self.containers["waits"])
        self.assertEqual(9, env.wait_exited(self.containers["waits"]).exit_code)
        self.assertEqual(["ran"], self.lines("waits"))
        self.assertEqual(["begun"], self.lines("terminal"))

    def test_the_death_of_belayd(self):
        self.begin()
        self.kill("belayd")
        self.check_all_survive()

    def test_the_death_of_a_shim(self):
        self.begin()
        self.kill("shim")
        self.check_all_survive()

    def test_the_death_of_both_with_a_descriptor_store(self):
        manager = self.use_store()
        self.begin()
        held = [self.containers[name] + kind for name, kind in
                (("terminal", "/pty"), ("input", "/stdin"), ("waits", "/gate"), ("goes", "/stdout"))]
        waiting.until(lambda: all(name in manager.store for name in held), "all is stored")
        self.kill("belayd", "shim")
        self.check_all_survive()

    def test_the_death_of_both_without_one(self):
        env = self.env
        self.begin()
        self.kill("belayd", "shim")
        self.check_what_always_survives()
        # What it had written and nobody had read.
        self.assertIn(self.lines("goes"), ([], ["last words"]))
        # The terminal hangs up; this one ends by it.
        self.assertEqual(3, env.wait_exited(self.containers["terminal"]).exit_code)
        waiting.until(lambda: self.lines("input") == ["ended"], "the end of the input")
        self.assertEqual(self.pb.CONTAINER_RUNNING, env.status(self.containers["input"]).state)
        with self.assertRaises(grpc.RpcError):
            env.start(self.containers["waits"])
        status = env.wait_exited(self.containers["waits"])
        self.assertEqual("StartError", status.reason)
        self.assertEqual([], self.lines("waits"))


    def test_commands_of_a_dead_shim_end_with_an_error(self):
        env = self.env
        pod, config = env.run_pod()
        container = env.create(pod, config, script="sleep 1000")
        env.start(container)
        url = env.cri.runtime.Exec(container_id=container, cmd=["cat"], stdin=True, stdout=True).url
        parts = urllib.parse.urlsplit(url)
        stream = RemoteCommand(http.client.HTTPConnection(parts.hostname, parts.port, timeout=60), parts.path)
        stream.write(b"word\n")
        self.assertTrue(stream.read_until(lambda: stream.output[STDOUT] == b"word\n"))
        call = env.cri.runtime.ExecSync.future(container_id=container, cmd=["sh", "-c", "touch /tmp/on; sleep 1000"])
        waiting.until(lambda: env.exec(container, "ls", "/tmp")[1] == "on\n", "the command runs")
        os.kill(self.daemon.shims()[0], signal.SIGKILL)
        _, _, status = stream.finish()
        self.assertEqual("Failure", status["status"], status)
        self.assertEqual(grpc.StatusCode.UNAVAILABLE, call.exception().code())
        self.assertIn("shim was lost", call.exception().details())
        self.assertEqual((0, "alive\n", ""), env.exec(container, "echo", "alive"))
