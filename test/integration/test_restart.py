"""The daemon is killed: nobody in the pod notices, and nothing that happened meanwhile is lost."""
import fcntl
import os
import signal
import subprocess
import tempfile
import time

from harness import failpoints, waiting
from harness.case import Case
from harness.environment import runs

COUNT = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done"


class RestartTest(Case):
    def setUp(self):
        super().setUp()
        self.only_belay()

    def assert_counts_without_gap(self, config):
        return self.assertConsecutive(self.numbers(config))

    def grows_beyond(self, config, count):
        waiting.until(lambda: len(self.numbers(config)) > count, f"more than {count} lines in the log")

    def test_a_containers_log_goes_on_while_the_daemon_is_dead(self):
        env = self.env
        pod, config = env.run_pod()
        container = env.create(pod, config, script=COUNT)
        env.start(container)
        self.grows_beyond(config, 10)
        for _ in range(3):
            env.daemon.kill()
            self.grows_beyond(config, self.assert_counts_without_gap(config) + 20)
            env.daemon.start()
            self.assertEqual(self.pb.CONTAINER_RUNNING, env.status(container).state)
        self.assertEqual((0, "still here\n", ""), env.exec(container, "echo", "still here"))
        env.cri.runtime.StopContainer(container_id=container, timeout=0)
        self.assert_counts_without_gap(config)

    def test_an_exit_while_the_daemon_is_dead_is_reported_afterwards(self):
        env = self.env
        pod, config = env.run_pod()
        container = env.create(
            pod, config, script="while [ ! -e /tmp/go ]; do sleep 0.01; done; echo last words; exit 42"
        )
        env.start(container)
        pid = env.pid(container)
        env.daemon.kill()
        before = time.time_ns()
        with open(f"/proc/{pid}/root/tmp/go", "w"):
            pass
        waiting.until(lambda: ("stdout", "F", "last words") in env.log_lines(config), "the last words")
        waiting.until(lambda: not runs(pid), "the container's process is gone")
        after = time.time_ns()
        env.daemon.start()
        status = env.wait_exited(container)
        self.assertEqual(42, status.exit_code)
        self.assertEqual("Error", status.reason)
        self.assertLessEqual(before, status.finished_at)
        self.assertLessEqual(status.finished_at, after)
        env.cri.runtime.StopContainer(container_id=container, timeout=1)
        env.cri.runtime.RemoveContainer(container_id=container)
        env.remove_pod(pod)

    def test_a_created_container_starts_after_a_restart(self):
        env = self.env
        pod, config = env.run_pod()
        container = env.create(pod, config, script="echo started")
        env.restart()
        self.assertEqual(self.pb.CONTAINER_CREATED, env.status(container).state)
        env.start(container)
        self.assertEqual(0, env.wait_exited(container).exit_code)
        self.assertEqual([("stdout", "F", "started")], env.log_lines(config))

    def test_a_lock_that_is_held_for_a_moment_longer_is_waited_for(self):
        daemon = self.env.daemon
        daemon.kill()
        # As a child of the dead one does, until it executes its program.
        with open(daemon.root / "belayd.lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            failpoints.start_with(daemon, "")
            files = f"/proc/{daemon.process.pid}/fd"

            def waits():
                self.assertIsNone(daemon.process.poll(), daemon.log_tail(3))
                return any(os.readlink(entry.path).endswith("belayd.lock") for entry in os.scandir(files))

            waiting.until(waits, "belayd has opened its lock")
        daemon.cri.wait_until_serving()

    def test_two_daemons_share_neither_folders_nor_cgroups(self):
        """Each would take what is the other's for a dead one's, and end it."""
        pod, config = self.env.run_pod()
        daemon = self.env.daemon
        ours = {"--root": daemon.root, "--state": daemon.state, "--cgroup-root": daemon.mark}
        for shared, value in ours.items():
            with self.subTest(shared), tempfile.TemporaryDirectory() as folder:
                # Both folders may be one.
                own = {"--root": folder, "--state": folder, "--cgroup-root": daemon.mark + "-other"}
                command = [daemon.programs / "belayd", "--listen", f"unix://{folder}/belay.sock"]
                for flag, setting in (own | {shared: value}).items():
                    command += [flag, str(setting)]
                ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
                self.assertEqual(1, ended.returncode, ended.stderr)
                self.assertRegex(ended.stderr, f"another belayd uses .*{value}: .* give another {shared}\\n")
        status = self.env.cri.runtime.PodSandboxStatus(pod_sandbox_id=pod).status
        self.assertEqual(self.pb.SANDBOX_READY, status.state)

    def test_pods_and_images_are_known_after_a_clean_restart(self):
        env = self.env
        pod, config = env.run_pod()
        address = env.cri.runtime.PodSandboxStatus(pod_sandbox_id=pod).status.network.ip
        env.daemon.stop()
        env.daemon.start()
        status = env.cri.runtime.PodSandboxStatus(pod_sandbox_id=pod).status
        self.assertEqual(self.pb.SANDBOX_READY, status.state)
        self.assertEqual(address, status.network.ip)
        images = env.cri.image.ListImages().images
        self.assertIn(env.busybox.id, [image.id for image in images])

    def test_a_stopped_pod_is_still_stopped_and_can_be_removed(self):
        env = self.env
        pod, config = env.run_pod()
        env.cri.runtime.StopPodSandbox(pod_sandbox_id=pod)
        env.restart()
        status = env.cri.runtime.PodSandboxStatus(pod_sandbox_id=pod).status
        self.assertEqual(self.pb.SANDBOX_NOTREADY, status.state)
        env.remove_pod(pod)

    def test_a_pod_whose_shim_died_with_the_daemon_can_be_stopped_and_removed(self):
        env = self.env
        pod, config = env.run_pod()
        container = env.create(pod, config, script="sleep 1000")
        env.start(container)
        shims = env.daemon.shims()
        self.assertEqual(1, len(shims))
        env.daemon.kill()
        os.kill(shims[0], signal.SIGKILL)
        env.daemon.start()
        env.cri.runtime.StopPodSandbox(pod_sandbox_id=pod)
        self.assertEqual(self.pb.CONTAINER_EXITED, env.status(container).state)
        env.cri.runtime.RemovePodSandbox(pod_sandbox_id=pod)
