"""The base of the tests with a kubelet: one for all of them, on the shared environment's daemon."""
import gzip
import json
import os
import unittest

from harness import case, waiting
from harness.environment import missing_parts
from harness.kubelet import Kubelet

# Of one kubelet to its runtime: one for containers, one for images.
CONNECTIONS = 2

_kubelet = None


def kubelet():
    """Started by the first test that needs it."""
    global _kubelet
    if _kubelet is None:
        env = case.environment()
        _kubelet = Kubelet(os.environ["BELAY_KUBELET"], env.folder / "kubelet", env.mark, env.cri.endpoint)
        _kubelet.start()
    return _kubelet


def close_kubelet():
    if _kubelet is not None:
        _kubelet.close()


def container(image, name="main", script="sleep 1000000 & wait", **fields):
    """A container of a manifest; without a word of its own it ends at once when told to."""
    return {
        "name": name, "image": image, "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", f"trap 'exit 0' TERM; {script}"], **fields,
    }


def exec_probe(script, **fields):
    return {"exec": {"command": ["/bin/sh", "-c", script]}, "periodSeconds": 1, "failureThreshold": 1, **fields}


def http_probe(path, port, **fields):
    return {"httpGet": {"path": path, "port": port}, "periodSeconds": 1, "failureThreshold": 1, **fields}


def statuses(pod):
    """Container name -> its status, init containers too."""
    found = pod["status"].get("initContainerStatuses", []) + pod["status"].get("containerStatuses", [])
    return {status["name"]: status for status in found}


def is_ready(pod):
    conditions = {row["type"]: row["status"] for row in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True"


class KubeletCase(case.Case):
    @classmethod
    def setUpClass(cls):
        missing = missing_parts()
        if not os.environ.get("BELAY_KUBELET"):
            missing.append("a kubelet (scripts/test builds it with Go)")
        if missing:
            raise unittest.SkipTest("this machine lacks " + ", ".join(missing))

    def setUp(self):
        self.env = case.environment()
        self.kubelet = kubelet()
        super().setUp()
        self.base.watch(self.kubelet.folder / "root/pods")
        # After a restart of the daemon the kubelet connects again when it next has a question.
        self.base.descriptors += 1 + CONNECTIONS - self.env.daemon.clients()

    def _end(self):
        for path in self.kubelet.manifests.iterdir():
            path.unlink()
        self.wait(lambda: not self.kubelet.cgroups(), "the kubelet has ended all pods")
        self.base.processes.add(self.kubelet.process.pid)  # another than before, if a test restarted it
        # The records of pods that are over it removes from the runtime once in a minute: test_endings
        # waits for that once, everywhere else the harness does it.
        super()._end()

    # --- pods

    def container(self, *arguments, **fields):
        return container(self.env.image, *arguments, **fields)

    def run_pod(self, name, *containers, grace=10, **spec):
        self.kubelet.add(
            {
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": name, "namespace": "test"},
                "spec": {"terminationGracePeriodSeconds": grace, "containers": list(containers), **spec},
            }
        )

    def wait(self, condition, what, seconds=60):
        """waiting.until, with the kubelet's view and the logs in its error."""
        try:
            return waiting.until(condition, what, seconds, interval=0.1)
        except AssertionError as error:
            raise AssertionError(
                f"{error}\n--- /pods: {json.dumps({name: pod['status'] for name, pod in self.kubelet.pods().items()})}"
                f"\n--- kubelet:\n{self.kubelet.log_tail(60)}"
                + (f"\n--- belayd:\n{self.env.daemon.log_tail()}" if self.env.daemon else "")
            ) from None

    def wait_pod(self, name, condition, what, seconds=60):
        """Waits until `condition(pod)` is true of the pod as /pods shows it; returns that pod."""

        def fits():
            pod = self.kubelet.pods().get(name)
            return pod if pod and condition(pod) else None

        return self.wait(fits, f"pod {name}: {what}", seconds)

    def wait_ready(self, name, seconds=60):
        return self.wait_pod(name, is_ready, "is ready", seconds)

    def remove_pod(self, name, seconds=60):
        """Takes the manifest away and waits until the kubelet is done with the pod."""
        uid = self.kubelet.pods()[name]["metadata"]["uid"]
        self.kubelet.remove(name)
        self.wait(lambda: not self.kubelet.cgroups(uid), f"pod {name} is gone", seconds)

    def container_id(self, pod, name="main"):
        return statuses(pod)[name]["containerID"].split("://")[1]

    def log_file(self, pod, name="main", attempt=0):
        meta = pod["metadata"]
        return self.kubelet.logs / f"{meta['namespace']}_{meta['name']}_{meta['uid']}" / name / f"{attempt}.log"

    def log_lines(self, pod, name="main", attempt=0):
        path = self.log_file(pod, name, attempt)
        rows = path.read_text(errors="replace").splitlines() if path.exists() else []
        return [row.split(" ", 3)[3] for row in rows]

    def all_log_lines(self, pod):
        """Those of `main`'s log and of what it was before it was rotated; none if it is rotated meanwhile."""
        folder = self.log_file(pod).parent

        # 0.log.TIME.gz, 0.log.TIME, and 0.log, which is the newest.
        def files():
            return sorted(folder.iterdir(), key=lambda path: (path.name == "0.log", path.name))

        before, lines = files(), []
        for path in before:
            try:
                with gzip.open(path, "rt") if path.suffix == ".gz" else open(path) as rows:
                    lines += [row.split(" ", 3)[3].strip() for row in rows]
            except (FileNotFoundError, EOFError):
                return []
        return lines if files() == before else []
