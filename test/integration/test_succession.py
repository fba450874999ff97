"""A pod's shim is killed: another one takes over, and nobody in the pod notices."""
import os
import signal
import threading

from harness import waiting
from harness.case import Case

COUNT = "trap 'exit 42' TERM; i=0; while :; do echo $i; i=$((i+1)); sleep 0.005; done"


class SuccessionTest(Case):
    def setUp(self):
        super().setUp()
        self.only_belay()

    def kill_shim(self, also_daemon=False):
        """Returns when another one serves."""
        old = self.env.daemon.shims()
        self.assertEqual(1, len(old))
        if also_daemon:
            self.env.daemon.kill()
        os.kill(old[0], signal.SIGKILL)
        if also_daemon:
            self.env.daemon.start()
        waiting.until(lambda: self.env.daemon.shims() not in ([], old), "another shim")

    def counting(self):
        """(pod, its config, a container that counts, its pid)"""
        pod, config = self.env.run_pod()
        container = self.env.create(pod, config, script=COUNT)
        self.env.start(container)
        return pod, config, container, self.env.pid(container)

    def ends_whole(self, config, container):
        """Stops what counts: its exit code is known, and its log has neither gap nor repeat."""
        self.env.cri.runtime.StopContainer(container_id=container, timeout=20)
        self.assertEqual(42, self.env.status(container).exit_code)
        self.assertConsecutive(self.numbers(config))

    def test_containers_logs_and_exit_codes_outlive_shims(self):
        env = self.env
        pod, config, container, pid = self.counting()
        for _ in range(5):
            self.grows(config)
            self.kill_shim()
            # Nobody who asks sees anything else meanwhile.
            self.assertEqual(self.pb.CONTAINER_RUNNING, env.status(container).state)
            status = env.cri.runtime.PodSandboxStatus(pod_sandbox_id=pod).status
            self.assertEqual(self.pb.SANDBOX_READY, status.state)
            self.assertEqual((0, "still here\n", ""), env.exec(container, "echo", "still here"))
            self.assertEqual(pid, self.env.pid(container))
        self.grows(config)
        self.ends_whole(config, container)

    def test_shim_and_daemon_die_together(self):
        env = self.env
        _, config, container, pid = self.counting()
        for _ in range(3):
            self.grows(config)
            self.kill_shim(also_daemon=True)
            self.assertEqual(self.pb.CONTAINER_RUNNING, env.status(container).state)
            self.assertEqual(pid, self.env.pid(container))
        self.grows(config)
        self.ends_whole(config, container)

    def test_a_container_is_created_and_started_across_shims(self):
        env = self.env
        pod, config = env.run_pod()
        container = env.create(pod, config, script="echo started; exit 7")
        self.kill_shim()
        self.assertEqual(self.pb.CONTAINER_CREATED, env.status(container).state)
        env.start(container)
        self.assertEqual(7, env.wait_exited(container).exit_code)
        self.kill_shim()
        self.assertEqual(7, env.status(container).exit_code)
        self.assertEqual([("stdout", "F", "started")], env.log_lines(config))

    def test_a_stop_under_way_is_carried_on(self):
        env = self.env
        pod, config = env.run_pod()
        container = env.create(
            pod, config, script="trap 'echo asked' TERM; while [ ! -e /tmp/go ]; do sleep 0.01; done; exit 5"
        )
        env.start(container)
        pid = self.env.pid(container)
        stopping = threading.Thread(
            target=lambda: env.cri.runtime.StopContainer(container_id=container, timeout=60)
        )
        stopping.start()
        waiting.until(lambda: env.log_lines(config), "the signal")
        self.kill_shim()
        env.exec(container, "true")
        with open(f"/proc/{pid}/root/tmp/go", "w"):
            pass
        stopping.join(timeout=20)
        self.assertFalse(stopping.is_alive())
        self.assertEqual(5, env.status(container).exit_code)
        self.assertEqual([("stdout", "F", "asked")], env.log_lines(config), "the signal was sent once")

    def test_there_are_never_two_shims_of_a_pod(self):
        env = self.env
        pod, config, container, pid = self.counting()
        shim, = env.daemon.shims()
        env.daemon.kill()
        # As one that was killed and hangs in the kernel: nobody listens, and the process is there.
        os.kill(shim, signal.SIGSTOP)
        os.unlink(env.daemon.state / "pods" / pod / "shim.sock")
        env.daemon.start()
        env.daemon.wait_for_log("hangs in the kernel")
        self.assertEqual(self.pb.CONTAINER_UNKNOWN, env.status(container).state)
        os.kill(shim, signal.SIGKILL)
        waiting.until(lambda: env.status(container).state == self.pb.CONTAINER_RUNNING, "another shim takes over")
        self.assertEqual(pid, self.env.pid(container))
        self.ends_whole(config, container)
