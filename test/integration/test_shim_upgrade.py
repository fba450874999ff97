"""The program of a pod's shim is replaced by another one: same process, and nobody in the pod notices."""
import os
import subprocess
import threading

from harness import waiting
from harness.case import Case

COUNT = "trap 'exit 42' TERM; i=0; while :; do echo $i; i=$((i+1)); sleep 0.005; done"


class ShimUpgradeTest(Case):
    def setUp(self):
        super().setUp()
        self.only_belay()

    def upgrade(self, *pods, fails=False):
        daemon = self.env.daemon
        answer = subprocess.run(
            [daemon.programs / "belayctl", "--state", daemon.state, "shim", "upgrade", *(pods or ["--all"])],
            capture_output=True, text=True, timeout=60)
        self.assertEqual(fails, answer.returncode != 0, answer.stdout + answer.stderr)
        return answer.stdout

    def test_containers_logs_and_exit_codes_are_as_before(self):
        env = self.env
        pod, config = env.run_pod()
        container = env.create(pod, config, script=COUNT)
        env.start(container)
        shims = env.daemon.shims()
        for generation in range(1, 6):
            self.grows(config)
            self.assertIn(f"replaced ({generation})", self.upgrade())
            self.assertEqual(shims, env.daemon.shims())
            self.assertEqual(self.pb.CONTAINER_RUNNING, env.status(container).state)
            self.assertEqual((0, "still here\n", ""), env.exec(container, "echo", "still here"))
        self.grows(config)
        env.cri.runtime.StopContainer(container_id=container, timeout=20)
        self.assertEqual(42, env.status(container).exit_code)
        self.assertConsecutive(self.numbers(config))

    def test_a_created_container_starts_and_an_exited_one_stays(self):
        env = self.env
        pod, config = env.run_pod()
        container = env.create(pod, config, script="echo started; exit 7")
        self.upgrade(pod)
        env.start(container)
        self.assertEqual(7, env.wait_exited(container).exit_code)
        self.upgrade(pod)
        self.assertEqual(7, env.status(container).exit_code)
        self.assertEqual([("stdout", "F", "started")], env.log_lines(config))

    def test_calls_go_on_meanwhile(self):
        env = self.env
        pod, config = env.run_pod()
        container = env.create(pod, config, script=COUNT)
        env.start(container)
        done, failures, count = threading.Event(), [], [0]

        def probe():
            while not done.is_set():
                try:
                    self.assertEqual((0, "", ""), env.exec(container, "true"))
                    count[0] += 1
                except Exception as error:  # pylint: disable=broad-except
                    failures.append(error)

        probes = [threading.Thread(target=probe) for _ in range(2)]
        for thread in probes:
            thread.start()
        for _ in range(5):
            before = count[0]
            self.upgrade()
            waiting.until(lambda: count[0] > before + 5 or failures, "more probes")
        done.set()
        for thread in probes:
            thread.join()
        self.assertEqual([], failures)
        self.assertConsecutive(self.numbers(config))

    def test_one_that_is_busy_stays_as_it_was_and_says_so(self):
        env = self.env
        pod, config = env.run_pod()
        container = env.create(pod, config, script="while [ ! -e /tmp/go ]; do sleep 0.01; done; exit 3")
        env.start(container)
        call = env.cri.runtime.ExecSync.future(
            container_id=container, cmd=["sh", "-c", "touch /tmp/began; sleep 1000"], timeout=0)
        waiting.until(lambda: env.exec(container, "ls", "/tmp")[1] == "began\n", "the exec")
        self.assertIn("under way", self.upgrade(pod, fails=True))
        self.assertFalse(call.done())
        call.cancel()
        self.upgrade(pod)
        env.exec(container, "touch", "/tmp/go")
        self.assertEqual(3, env.wait_exited(container).exit_code)

    def test_a_program_that_is_none_is_refused(self):
        env = self.env
        pod, config = env.run_pod()
        container = env.create(pod, config, script=COUNT)
        env.start(container)
        programs = os.fspath(env.daemon.programs)
        aside = os.path.join(programs, "belay-shim.aside")
        shim = os.path.join(programs, "belay-shim")
        os.rename(shim, aside)
        try:
            with open(shim, "w") as file:
                file.write("#!/bin/sh\necho no shim; exit 1\n")
            os.chmod(shim, 0o755)
            self.assertIn("as it was", self.upgrade(pod, fails=True))
        finally:
            os.replace(aside, shim)
        self.assertEqual((0, "alive\n", ""), env.exec(container, "echo", "alive"))
        self.grows(config)
        self.assertConsecutive(self.numbers(config))
