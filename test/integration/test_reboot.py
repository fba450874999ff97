"""The machine restarts: what is on the disk is of another boot, and what was in memory is gone."""
import os
import pathlib
import subprocess

from harness import reboot, waiting
from harness.case import Case


class RebootTest(Case):
    def setUp(self):
        super().setUp()
        self.only_belay()
        self.leases = self.env.leases()

    def power_off(self, **how):
        reboot.power_off(self.env, self.base, **how)

    def running(self):
        """A pod with an address and a container."""
        pod, config = self.env.run_pod()
        container = self.env.create(pod, config, script="sleep 1000")
        self.env.start(container)
        self.assertNotEqual(self.leases, self.env.leases())
        return pod, config, container

    def assert_ended_by_the_restart(self, pod, container):
        runtime = self.env.cri.runtime
        self.assertEqual(
            self.pb.SANDBOX_NOTREADY, runtime.PodSandboxStatus(pod_sandbox_id=pod).status.state
        )
        status = self.env.status(container)
        self.assertEqual(self.pb.CONTAINER_EXITED, status.state)
        self.assertEqual((255, "NodeRestarted"), (status.exit_code, status.reason))
        self.assertIn("restarted", status.message)

    def test_pods_of_before_have_ended_and_their_addresses_are_free(self):
        env = self.env
        pod, config, container = self.running()
        created = env.create(pod, config, name="created", script="true")
        self.power_off()
        env.daemon.start()
        self.assert_ended_by_the_restart(pod, container)
        self.assert_ended_by_the_restart(pod, created)
        # Before any client asks for it.
        waiting.until(lambda: env.leases() == self.leases, "the pod's address is free")
        self.assertEqual([], os.listdir(env.daemon.root / "overlay/snapshots"))
        # As a kubelet does: the next attempt of the same pod, then the old one goes.
        config.metadata.attempt += 1
        again, _ = env.run_pod(config)
        next_one = env.create(again, config, name="next", script="exit 3")
        env.start(next_one)
        self.assertEqual(3, env.wait_exited(next_one).exit_code)
        env.remove_pod(pod)
        self.assertEqual([again], [item.id for item in env.cri.runtime.ListPodSandbox().items])

    def test_many_pods_of_before_give_their_addresses_back(self):
        env = self.env
        pods = [env.run_pod()[0] for _ in range(10)]
        self.power_off()
        env.daemon.start()
        waiting.until(lambda: env.leases() == self.leases, "all addresses are free")
        for pod in pods:
            env.remove_pod(pod)

    def test_a_state_folder_that_is_on_a_disk_is_not_believed(self):
        env = self.env
        pod, _, container = self.running()
        self.power_off(run_is_memory=False)
        self.assertTrue(os.path.exists(env.daemon.state / "pods" / pod / "state"))
        env.daemon.start()
        self.assert_ended_by_the_restart(pod, container)
        waiting.until(lambda: env.leases() == self.leases, "the pod's address is free")
        env.remove_pod(pod)  # and the check of every test finds no file of it

    def test_what_no_record_knows_any_more_is_swept(self):
        env = self.env
        pod, _, container = self.running()
        self.assertEqual([pod], os.listdir(env.daemon.root / "attachments"))
        self.power_off()
        with reboot.edited(env.daemon) as database:
            database.execute("DELETE FROM pods")
            database.execute("DELETE FROM containers")
        env.daemon.start()
        self.assertEqual([], list(env.cri.runtime.ListPodSandbox().items))
        waiting.until(lambda: not os.listdir(env.daemon.root / "attachments"), "the pod is released")
        self.assertEqual(self.leases, env.leases())
        self.assertEqual([], os.listdir(env.daemon.root / "overlay/snapshots"))

    def test_an_address_that_came_back_after_its_release_is_released_again(self):
        env = self.env
        pod, _, _ = self.running()
        # Names that were removed shortly before a power cut are there again; the record is newer.
        mark = env.daemon.root / "attachments" / pod
        back = [(env.ipam / env.bridge / name) for name in env.leases() - self.leases]
        back = [(path, path.read_bytes()) for path in back + [mark]]
        env.cri.runtime.StopPodSandbox(pod_sandbox_id=pod)
        for path, content in back:
            self.assertFalse(path.exists())
            path.write_bytes(content)
        self.power_off()
        env.daemon.start()
        waiting.until(lambda: env.leases() == self.leases and not mark.exists(), "the pod's address is free")
        env.remove_pod(pod)

    def test_content_that_no_record_names_is_not_taken_for_whole(self):
        env = self.env
        self.power_off()
        # As a power cut leaves a pull that was not recorded yet: names, and files without contents.
        with reboot.edited(env.daemon) as database:
            database.execute("DELETE FROM images")
        content = env.daemon.root / "content"
        for folder in ("blobs", "layers"):
            for path in (content / folder).rglob("*"):
                if path.is_file() and not path.is_symlink():
                    os.truncate(path, 0)
        env.daemon.start()
        env.pull()
        pod, config = env.run_pod()
        container = env.create(pod, config, script="cat /etc/layer")
        env.start(container)
        self.assertEqual(0, env.wait_exited(container).exit_code)
        self.assertEqual([("stdout", "F", "two")], env.log_lines(config))

    def test_an_image_that_lost_content_is_pulled_again(self):
        env = self.env
        self.power_off()
        for blob in (env.daemon.root / "content/blobs/sha256").iterdir():
            os.truncate(blob, 10)
        env.daemon.start()
        self.assertEqual([], list(env.cri.image.ListImages().images))
        env.pull()
        self.assertEqual(1, len(env.cri.image.ListImages().images))

    def test_a_damaged_database_is_refused_and_named(self):
        daemon = self.env.daemon
        daemon.stop()
        path = pathlib.Path(daemon.root, "belay.db")
        with reboot.edited(daemon) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        good = path.read_bytes()
        self.addCleanup(path.write_bytes, good)
        path.write_bytes(good[:8192] + bytes(len(good) - 8192))
        run = subprocess.run(daemon.arguments, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(1, run.returncode)
        self.assertIn(str(path), run.stderr)
        self.assertIn("move the file away", run.stderr)
