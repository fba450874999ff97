"""crictl, the client people type at: every command the README promises."""
import json
import os
import pathlib
import subprocess
import unittest

from harness import cgroups, waiting
from harness.case import Case


class CrictlTest(Case):
    def setUp(self):
        super().setUp()
        self.only_belay()
        binary = os.environ.get("BELAY_CRICTL")
        if not binary:
            raise unittest.SkipTest("crictl is missing: Go is not installed (scripts/test builds crictl with it)")
        self.command = [
            binary, "--config", "/dev/null", "--runtime-endpoint", self.env.daemon.endpoint,
            "--image-endpoint", self.env.daemon.endpoint, "--timeout", "20s",
        ]

    def crictl(self, *arguments, expect=0):
        done = subprocess.run([*self.command, *arguments], capture_output=True, text=True, timeout=60)
        self.assertEqual(expect, done.returncode, f"crictl {' '.join(arguments)}\n{done.stdout}{done.stderr}")
        return done.stdout.strip() if expect == 0 else done.stderr.strip()

    def write(self, name, document):
        path = pathlib.Path(self.env.folder) / f"{self.id()}-{name}.json"
        path.write_text(json.dumps(document))
        return str(path)

    def test_a_pods_life_by_hand(self):
        env = self.env
        version = self.crictl("version")
        self.assertIn("RuntimeName:  belay", version)
        self.assertIn("RuntimeApiVersion:  v1", version)
        conditions = json.loads(self.crictl("info"))["status"]["conditions"]
        self.assertEqual({"RuntimeReady", "NetworkReady"}, {c["type"] for c in conditions})

        self.assertIn("Image is up to date", self.crictl("pull", env.image))
        self.assertIn("test/busybox", self.crictl("images"))
        self.assertIn(env.busybox.id, self.crictl("inspecti", env.image))

        logs = pathlib.Path(env.folder) / "crictl-logs"
        logs.mkdir(exist_ok=True)
        pod_file = self.write("pod", {
            "metadata": {"name": "by-hand", "namespace": "test", "uid": "by-hand-1", "attempt": 1},
            "hostname": "by-hand", "log_directory": str(logs),
            "linux": {"cgroup_parent": cgroups.pod_parent(env.mark, "crictl"),
                      "security_context": {"namespace_options": {"pid": 1}}},
        })
        container_file = self.write("container", {
            "metadata": {"name": "main"}, "image": {"image": env.image},
            "command": ["sh", "-c", "echo hello from the rope; sleep 1000"], "log_path": "main.log",
            "linux": {"security_context": {"namespace_options": {"pid": 1}}},
        })
        pod = self.crictl("runp", pod_file)
        self.assertIn("by-hand", self.crictl("pods"))
        container = self.crictl("create", pod, container_file, pod_file)
        self.assertIn("Created", self.crictl("ps", "-a"))
        self.crictl("start", container)
        self.assertIn("Running", self.crictl("ps"))
        self.assertEqual("SANDBOX_READY", json.loads(self.crictl("inspectp", pod))["status"]["state"])
        inspected = json.loads(self.crictl("inspect", container))
        self.assertEqual("CONTAINER_RUNNING", inspected["status"]["state"])
        self.assertGreater(inspected["info"]["pid"], 0)
        waiting.until(lambda: "hello from the rope" in self.crictl("logs", container), "the log's line")
        self.assertEqual("executed", self.crictl("exec", "--sync", container, "echo", "executed"))
        self.assertIn("exited with 3", self.crictl("exec", "--sync", container, "sh", "-c", "exit 3", expect=1))
        self.crictl("stop", "--timeout", "1", container)
        self.assertIn("Exited", self.crictl("ps", "-a"))
        self.crictl("rm", container)
        self.assertNotIn(container[:13], self.crictl("ps", "-a"))
        self.crictl("stopp", pod)
        self.crictl("rmp", pod)
        self.assertNotIn("by-hand", self.crictl("pods"))

    def test_an_image_by_hand(self):
        env = self.env
        from harness.registry import Image, Layer

        image = Image([Layer().add("by", b"hand")])
        reference = env.registry.push(image, "test/by-hand", "1")
        self.crictl("pull", reference)
        self.assertIn("test/by-hand", self.crictl("images"))
        self.assertIn("imageFilesystems", self.crictl("imagefsinfo"))
        self.crictl("rmi", reference)
        self.assertNotIn("test/by-hand", self.crictl("images"))
