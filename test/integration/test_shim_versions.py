"""Shims of former protocol versions (test/frozen): they serve the present belayd, and the present shim takes over."""
import contextlib
import lzma
import os
import pathlib
import platform
import signal
import subprocess

from harness import waiting
from harness.case import Case

FROZEN = pathlib.Path(__file__).parents[1] / "frozen"
COUNT = "trap 'exit 42' TERM; i=0; while :; do echo $i; i=$((i+1)); sleep 0.005; done"

# The first that can execute another program in its place.
REPLACEABLE = 2


class ShimVersionsTest(Case):
    def setUp(self):
        super().setUp()
        self.only_belay()
        if platform.machine() != "x86_64":
            self.skipTest(f"the frozen shims are for x86_64, not {platform.machine()}")

    @contextlib.contextmanager
    def shim_of(self, version):
        """Pods that are run meanwhile get the shim of that version."""
        shim = self.env.daemon.programs / "belay-shim"
        aside = self.env.daemon.programs / "belay-shim.aside"
        os.rename(shim, aside)
        try:
            shim.write_bytes(lzma.decompress((FROZEN / f"belay-shim-{version}.xz").read_bytes()))
            shim.chmod(0o755)
            yield
        finally:
            os.replace(aside, shim)

    def each_version(self):
        versions = sorted(int(path.name.split("-")[-1].split(".")[0]) for path in FROZEN.glob("belay-shim-*.xz"))
        self.assertIn(1, versions)
        for version in versions:
            with self.subTest(version=version):
                yield version
                self.env.remove_everything()

    def begin(self, version):
        env = self.env
        with self.shim_of(version):
            pod, config = env.run_pod()
        container = env.create(pod, config, script=COUNT)
        env.start(container)
        self.grows(config)
        self.assertEqual((0, "inside\n", ""), env.exec(container, "echo", "inside"))
        return pod, config, container

    def end(self, config, container):
        env = self.env
        self.grows(config)
        self.assertEqual((0, "inside\n", ""), env.exec(container, "echo", "inside"))
        env.cri.runtime.StopContainer(container_id=container, timeout=20)
        self.assertEqual(42, env.status(container).exit_code)
        self.assertConsecutive(self.numbers(config))

    def test_serves_the_present_belayd(self):
        for version in self.each_version():
            _, config, container = self.begin(version)
            self.env.restart()
            self.end(config, container)

    def test_its_pod_is_adopted_when_it_dies(self):
        for version in self.each_version():
            _, config, container = self.begin(version)
            old = self.env.daemon.shims()
            os.kill(old[0], signal.SIGKILL)
            waiting.until(lambda: self.env.daemon.shims() not in ([], old), "another shim")
            self.assertEqual(self.pb.CONTAINER_RUNNING, self.env.status(container).state)
            self.end(config, container)

    def test_it_is_replaced_in_place_or_says_that_it_cannot_be(self):
        for version in self.each_version():
            pod, config, container = self.begin(version)
            daemon = self.env.daemon
            answer = subprocess.run(
                [daemon.programs / "belayctl", "--state", daemon.state, "shim", "upgrade", pod],
                capture_output=True, text=True, timeout=60)
            if version >= REPLACEABLE:
                self.assertEqual(0, answer.returncode, answer.stdout + answer.stderr)
            else:
                self.assertEqual(1, answer.returncode)
                self.assertIn(f"protocol version {version}", answer.stdout)
            self.end(config, container)
