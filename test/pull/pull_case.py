"""What the tests of belay-pull share: folders, images, and running its modes as belayd does."""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from harness import waiting  # noqa: E402
from harness.registry import Image, Layer  # noqa: E402

BIN = {}  # "belay-pull" and "ingest-driver" -> path

LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


def set_programs(belay_pull, ingest_driver):
    BIN["belay-pull"], BIN["ingest-driver"] = os.path.abspath(belay_pull), os.path.abspath(ingest_driver)


def main():
    """Runs the tests of the calling module: MODULE.py --bin BELAY_PULL --driver INGEST_DRIVER ..."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True, help="the built belay-pull")
    parser.add_argument("--driver", required=True, help="the built //test/pull:ingest-driver")
    options, rest = parser.parse_known_args()
    set_programs(options.bin, options.driver)
    unittest.main(module="__main__", argv=[sys.argv[0], *rest], verbosity=2)


class PullCase(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="belay-pull-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.store = self.folder / "store"
        self.store.mkdir()

    def needRoot(self, what):
        if os.geteuid() != 0:
            self.skipTest(f"only root can {what}")

    def image(self, **options):
        """Two layers, the second one large enough for a connection to break in its middle."""
        first = Layer().directory("bin").add("bin/tool", b"#!/bin/tool\n", 0o755)
        second = Layer().add("data", os.urandom(400_000))
        options.setdefault("config", {"Env": ["A=1"], "Cmd": ["tool"], "User": "7"})
        return Image([first, second], **options)

    def driver(self, mode, request, *archive, during=None):
        """Runs belay-pull's `mode` with the driver in belayd's place; returns what that printed.

        `during` is called with belay-pull's process id while it runs.
        """
        environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        with subprocess.Popen(
            [BIN["ingest-driver"], BIN["belay-pull"], mode, str(self.store), *map(str, archive)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
        ) as process:
            try:
                process.stdin.write(json.dumps(request).encode())
                process.stdin.close()
                process.stdin = None
                if during:
                    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
                    during(int(waiting.until(children.read_text, "belay-pull is started").split()[0]))
                output, errors = process.communicate(timeout=60)
            except BaseException:
                process.kill()
                raise
        self.assertEqual(process.returncode, 0, errors.decode())
        return json.loads(output)

    def request(self, **members):
        return {
            "registry": "registry.test", "repository": "team/app", "tag": "latest",
            "architecture": "amd64", "os": "linux", "maxManifestBytes": 4 << 20,
            "maxBlobBytes": 1 << 30, "maxLayers": 127, "stallTimeoutMs": 20000, **members,
        }

    def fetch(self, *registries, during=None, **members):
        hosts = [
            r if isinstance(r, dict) else {"url": r.url, "canResolve": True, "canPull": True}
            for r in registries
        ]
        return self.driver("fetch", self.request(hosts=hosts, **members), during=during)

    def status(self, pid):
        """/proc/PID/status by name."""
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as lines:
            return {k: v.strip() for k, _, v in (line.partition(":") for line in lines)}

    def assertConfined(self, pid, capabilities):
        """The process is nobody, holds just these capabilities, and can regain none."""
        status = self.status(pid)
        for name in ("CapPrm", "CapEff"):
            self.assertEqual(int(status[name], 16), capabilities, name)
        for name in ("CapInh", "CapBnd", "CapAmb"):
            self.assertEqual(int(status[name], 16), 0, name)
        self.assertEqual(status["Uid"].split()[:3], ["65534"] * 3)
        self.assertEqual(status["Gid"].split()[:3], ["65534"] * 3)
        self.assertEqual(status["Groups"], "")
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual(status["Seccomp"], "2")
        # Not dumpable: its files in /proc belong to root and not to its user.
        self.assertEqual(os.stat(f"/proc/{pid}/mem").st_uid, 0)

    def assertPulled(self, outcome, image):
        self.assertIn("image", outcome, outcome)
        self.assertEqual(outcome["image"]["id"], image.id)
        self.assertEqual(outcome["planned"], image.id)
        for digest, data in image.blobs.items():
            if digest in outcome["image"]["blobs"]:
                self.assertEqual((self.store / digest.removeprefix("sha256:")).read_bytes(), data)
        self.assertEqual([p.name for p in self.store.iterdir() if p.name.endswith(".partial")], [])

    def assertRefused(self, outcome, code, *fragments):
        self.assertEqual(outcome.get("code"), code, outcome)
        for fragment in fragments:
            self.assertIn(fragment, outcome["message"])
