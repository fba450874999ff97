"""A real kubelet without an API server: static pods below a temporary folder, on the CRI endpoint given."""
import fcntl
import http.client
import json
import os
import pathlib
import shutil
import signal
import ssl
import subprocess

from harness import cgroups, leaks, waiting
from harness.registry import free_port

# Where the kubelet writes whatever its configuration says.
DEVICE_PLUGINS = pathlib.Path("/var/lib/kubelet/device-plugins")
LOG_LINKS = pathlib.Path("/var/log/containers")
SYSCTLS = [
    "vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
]

NODE = "belay-node"
LOG_SIZE = "64Ki"  # of a container's log file, before the kubelet rotates it
RELIST = 1  # seconds between two looks of the kubelet at all containers (its generic PLEG)


# test/kubelet/test_stats.py says what is missing without.
FEATURE_GATES = {"PodAndContainerStatsFromCRI": True}


def configuration(folder, cgroup_root, endpoint, ports):
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "127.0.0.1",
        "port": ports[0],
        "readOnlyPort": ports[1],
        "healthzPort": 0,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": endpoint,
        "staticPodPath": f"{folder}/manifests",
        "podLogsDir": f"{folder}/logs",
        "volumePluginDir": f"{folder}/volume-plugins",
        "fileCheckFrequency": "1s",
        "syncFrequency": "5s",
        "cgroupRoot": cgroup_root,
        # Asked of the runtime; this is what it is without an answer.
        "cgroupDriver": cgroups.DRIVER,
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "enforceNodeAllocatable": [],
        "makeIPTablesUtilChains": False,
        # The machine's disk is nobody's business here.
        "evictionHard": {"memory.available": "1Mi"},
        "imageGCHighThresholdPercent": 100,
        "podPidsLimit": 500,
        "containerLogMaxSize": LOG_SIZE,
        "containerLogMaxFiles": 100,
        "containerLogMonitorInterval": "3s",
        "crashLoopBackOff": {"maxContainerRestartPeriod": "3s"},
        "featureGates": FEATURE_GATES,
    }


class Kubelet:
    """One kubelet process. The whole machine can have one at a time: some of its paths are fixed.

    `mark` names its cgroups and is part of `folder`, so that leaks.Baseline sees what it leaves.
    """

    def __init__(self, program, folder, mark, endpoint):
        self.program, self.folder, self.mark = program, pathlib.Path(folder), mark
        self.manifests = self.folder / "manifests"
        self.manifests.mkdir(parents=True)
        self.logs = self.folder / "logs"
        self.log_path = self.folder / "kubelet.log"
        self.port, self.read_only_port = free_port(), free_port()
        (self.folder / "config.json").write_text(
            json.dumps(
                configuration(
                    self.folder, cgroups.kubelet_root(mark), endpoint, (self.port, self.read_only_port)
                )
            )
        )
        self.process = None
        self._take_machine()

    def _take_machine(self):
        self.lock = open("/run/lock/belay-test-kubelet", "w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.sysctls = {name: pathlib.Path("/proc/sys", name).read_text() for name in SYSCTLS}
        self.created = [path for path in (DEVICE_PLUGINS, DEVICE_PLUGINS.parent, LOG_LINKS) if not path.exists()]

    def start(self, seconds=60):
        cgroups.make_kubelet_root(self.mark)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [
                    self.program, "--config", str(self.folder / "config.json"),
                    "--root-dir", str(self.folder / "root"), "--cert-dir", str(self.folder / "pki"),
                    "--hostname-override", NODE, "--v", "4",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )
        waiting.until(self._serves, "the kubelet answers /pods", seconds)
        return self

    def _serves(self):
        assert self.process.poll() is None, f"the kubelet ended; its log:\n{self.log_tail()}"
        try:
            return self.get("/pods")
        except OSError:
            return None

    def log_tail(self, lines=40):
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def log_of(self, words, lines=40):
        """The last lines of the kubelet's log that hold one of `words`."""
        rows = self.log_path.read_text(errors="replace").splitlines()
        return "\n".join([row for row in rows if any(word in row for word in words)][-lines:])

    # --- its HTTP endpoints

    def get(self, path):
        """JSON of the read-only port."""
        connection = http.client.HTTPConnection("127.0.0.1", self.read_only_port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        assert response.status == 200, (path, response.status, body)
        return json.loads(body)

    def connect(self):
        """A TLS connection to the port that an API server would use; its certificate is self-signed."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=context)

    def request(self, method, path):
        connection = self.connect()
        try:
            connection.request(method, path)
            response = connection.getresponse()
            body = response.read().decode("utf-8", "replace")
        finally:
            connection.close()
        assert response.status == 200, (path, response.status, body)
        return body

    # --- static pods

    def add(self, manifest):
        """The file appears as a whole: the kubelet watches the folder."""
        name = manifest["metadata"]["name"]
        aside = self.folder / f"{name}.json"
        aside.write_text(json.dumps(manifest))
        aside.rename(self.manifests / aside.name)

    def remove(self, name):
        (self.manifests / f"{name}.json").unlink()

    def pods(self):
        """Name in the manifest -> pod as the kubelet sees it; those that have gone are absent."""
        items = self.get("/pods")["items"] or []
        return {item["metadata"]["name"].removesuffix(f"-{NODE}"): item for item in items}

    def cgroups(self, uid=""):
        """Those of the pod, or of all pods; the last that the kubelet removes of one that has ended."""
        return cgroups.kubelet_pods(self.mark, uid)

    def restart(self):
        """kill -9 and a new one."""
        self.process.kill()
        self.process.wait()
        return self.start()

    def close(self):
        """Ends it and takes away what it made outside its folder; its pods have to be gone."""
        try:
            if self.process and self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                self.process.wait(timeout=20)
        finally:
            for name, value in self.sysctls.items():
                pathlib.Path("/proc/sys", name).write_text(value)
            for path in LOG_LINKS.glob("*"):
                if path.is_symlink() and os.readlink(path).startswith(str(self.folder)):
                    path.unlink()
            for path in self.created:
                shutil.rmtree(path, ignore_errors=True)
            self.lock.close()
