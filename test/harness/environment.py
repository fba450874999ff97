"""One test environment: a registry with images, a CNI network, a daemon, and helpers that make pods."""
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import uuid

import grpc

from harness import cgroups, leaks, waiting
from harness.cri import Cri, messages
from harness.daemon import Belayd, write_network
from harness.registry import Image, Layer, Registry

BUSYBOX = "/bin/busybox"


def missing_parts():
    """What a real run needs and this machine lacks, as sentences; empty if all is there."""
    rows = []
    if os.geteuid() != 0:
        rows.append("root (namespaces, mounts and cgroups are made)")
    for name, package in (("docker-registry", "docker-registry"), ("ip", "iproute2"), ("protoc", "protobuf-compiler")):
        if not shutil.which(name):
            rows.append(f"{name} (Debian package {package})")
    if not os.path.exists("/usr/lib/cni/bridge"):
        rows.append("/usr/lib/cni/bridge (Debian package containernetworking-plugins)")
    if not os.path.exists(BUSYBOX):
        rows.append(f"{BUSYBOX} (Debian package busybox-static)")
    return rows


def runs(pid):
    """Whether there is such a process, and no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def busybox_layer():
    """/bin with Debian's static busybox and a symlink per applet, and the least of /etc."""
    layer = Layer().directory("bin").directory("etc").directory("tmp", mode=0o1777).directory("root", mode=0o700)
    layer.add("bin/busybox", pathlib.Path(BUSYBOX).read_bytes(), mode=0o755)
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout
    for applet in applets.split():
        if applet != "busybox":
            layer.symlink(f"bin/{applet}", "busybox")
    layer.add("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/tmp:/bin/sh\n")
    layer.add("etc/group", b"root:x:0:\nalice:x:1000:\nclimbers:x:2000:alice\n")
    return layer


def busybox_image():
    """Two layers behind an index of two platforms; the second layer removes a file of the first."""
    base = busybox_layer().add("etc/removed", b"gone in the next layer").directory("opaque")
    base.add("opaque/old", b"hidden by the next layer")
    upper = Layer().directory("etc").add("etc/.wh.removed").directory("opaque")
    upper.add("opaque/.wh..wh..opq").add("opaque/new", b"new\n").add("etc/layer", b"two\n")
    config = {"Env": ["PATH=/bin", "FROM_IMAGE=yes"], "Cmd": ["sh", "-c", "echo default command"]}
    return Image([base, upper], config, index=True)


class Environment:
    """Starts everything below one temporary folder; `close()` ends and removes it.

    With an endpoint of another runtime given, no daemon is started and belay's own checks are off.
    """

    def __init__(self, programs=None, endpoint=None):
        self.mark = f"belay-test-{os.getpid()}-{random.randrange(1 << 24):06x}"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=self.mark + "-"))
        self.registry = Registry(self.folder / "registry")
        self.endpoint, self.daemon = endpoint, None
        self.bridge = f"{leaks.bridge_prefix(self.mark)}{random.randrange(1296):x}"
        try:
            self._fill(programs)
        except BaseException:
            self.close()
            raise

    def _fill(self, programs):
        self.busybox = busybox_image()
        self.image = self.registry.push(self.busybox, "test/busybox", "1")
        if self.endpoint:
            self.remote = Cri(self.endpoint)
        else:
            self._mirror(self.registry.host)
            self.cni, self.ipam = self.folder / "net.d", self.folder / "ipam"
            write_network(self.cni, self.bridge, f"10.{random.randrange(200, 250)}.{random.randrange(256)}.0/24",
                          self.ipam)
            (self.folder / "d").mkdir()
            self.daemon = Belayd(programs, self.folder / "d", self.mark, self.folder / "certs.d", self.cni).start()
        self.logs = self.folder / "logs"

    def _mirror(self, host):
        """Lets the daemon take `host`'s images from the environment's registry."""
        folder = self.folder / "certs.d" / host
        folder.mkdir(parents=True)
        (folder / "hosts.toml").write_text(
            f'server = "http://{self.registry.host}"\n'
            f'[host."http://{self.registry.host}"]\n  capabilities = ["pull", "resolve"]\n'
        )

    def mirror_everything(self):
        """From now on every registry of the world is the environment's."""
        self._mirror("_default")

    @property
    def cri(self):
        return self.daemon.cri if self.daemon else self.remote

    def restart(self):
        """kill -9 and a new daemon."""
        self.daemon.kill()
        self.daemon.start()

    def pull(self, reference=None):
        pb = messages()
        return self.cri.image.PullImage(image=pb.ImageSpec(image=reference or self.image)).image_ref

    def busybox_layers(self, salt):
        """Layers of a busybox image that shares nothing with the common one."""
        return [busybox_layer().add("etc/salt", salt.encode())]

    # --- pods and containers, as kubelet would describe them

    def pod_config(self, name=None, host_network=False, **fields):
        pb = messages()
        uid = str(uuid.uuid4())
        name = name or f"pod-{uid[:8]}"
        options = pb.NamespaceOption(
            network=pb.NamespaceMode.Value("NODE" if host_network else "POD"),
            pid=pb.NamespaceMode.Value("CONTAINER"),
        )
        config = pb.PodSandboxConfig(
            metadata=pb.PodSandboxMetadata(name=name, uid=uid, namespace="test", attempt=0),
            hostname="" if host_network else name,
            log_directory=str(self.logs / uid),
            labels={"test": name},
            linux=pb.LinuxPodSandboxConfig(
                cgroup_parent=cgroups.pod_parent(self.mark, uid),
                security_context=pb.LinuxSandboxSecurityContext(namespace_options=options),
            ),
        )
        config.MergeFrom(pb.PodSandboxConfig(**fields))
        os.makedirs(config.log_directory, exist_ok=True)
        return config

    def run_pod(self, config=None, **kind):
        config = config or self.pod_config(**kind)
        return self.cri.runtime.RunPodSandbox(config=config).pod_sandbox_id, config

    def container_config(self, name="main", script=None, **fields):
        pb = messages()
        config = pb.ContainerConfig(
            metadata=pb.ContainerMetadata(name=name, attempt=0),
            image=pb.ImageSpec(image=self.image),
            log_path=f"{name}/0.log",
            labels={"container": name},
        )
        # As kubelet does: the pid namespace is each container's own unless the pod shares one.
        config.linux.security_context.namespace_options.pid = pb.NamespaceMode.Value("CONTAINER")
        if script is not None:
            config.command.extend(["/bin/sh", "-c", script])
        config.MergeFrom(pb.ContainerConfig(**fields))
        return config

    def create(self, pod, pod_config, config=None, **fields):
        config = config or self.container_config(**fields)
        own, pods = (each.linux.security_context.namespace_options for each in (config, pod_config))
        own.network = pods.network
        if pods.HasField("userns_options"):
            own.userns_options.CopyFrom(pods.userns_options)
        os.makedirs(os.path.dirname(os.path.join(pod_config.log_directory, config.log_path)), exist_ok=True)
        return self.cri.runtime.CreateContainer(
            pod_sandbox_id=pod, config=config, sandbox_config=pod_config
        ).container_id

    def start(self, container):
        self.cri.runtime.StartContainer(container_id=container)

    def status(self, container):
        return self.cri.runtime.ContainerStatus(container_id=container).status

    def pid(self, container):
        """Of its first process, on the host."""
        info = self.cri.runtime.ContainerStatus(container_id=container, verbose=True).info["info"]
        return json.loads(info)["pid"]

    def wait_exited(self, container, seconds=20):
        pb = messages()
        exited = pb.ContainerState.Value("CONTAINER_EXITED")

        def done():
            status = self.status(container)
            return status if status.state == exited else None

        return waiting.until(done, f"container {container[:12]} exits", seconds)

    def exec(self, container, *command, timeout=10):
        reply = self.cri.runtime.ExecSync(container_id=container, cmd=command, timeout=timeout)
        return reply.exit_code, reply.stdout.decode("utf-8", "replace"), reply.stderr.decode("utf-8", "replace")

    def log_lines(self, pod_config, name="main"):
        """[(stream, tag, text)] of a container's log."""
        path = pathlib.Path(pod_config.log_directory) / name / "0.log"
        rows = path.read_text(errors="replace").splitlines() if path.exists() else []
        return [tuple(row.split(" ", 3)[1:]) for row in rows]

    def remove_pod(self, pod):
        self.cri.runtime.StopPodSandbox(pod_sandbox_id=pod)
        self.cri.runtime.RemovePodSandbox(pod_sandbox_id=pod)

    def remove_everything(self):
        for item in self.cri.runtime.ListPodSandbox().items:
            if item.metadata.namespace == "test":
                self.remove_pod(item.id)

    def baseline(self):
        if not self.daemon:
            return leaks.Baseline(self.mark)
        return leaks.Baseline(self.mark, self.daemon.process.pid, self.changing_folders())

    def changing_folders(self):
        """Those of belay and host-local in which a pod, or a pull that failed, may leave something."""
        root, state = self.daemon.root, self.daemon.state
        return [
            state / "pods", root / "overlay/snapshots", root / "overlay/trash",
            root / "content/staging", root / "content/trash",
        ]

    def leases(self):
        """Addresses that host-local has given away."""
        return {path.name for path in (self.ipam / self.bridge).glob("10.*")}

    def close(self):
        try:
            if self.daemon and self.daemon.process:
                self.remove_everything()
                self.daemon.stop()
        except grpc.RpcError:
            self.daemon.kill()
        finally:
            self.registry.stop()
            self._end_strays()
            if self.endpoint is None:
                subprocess.run(["ip", "link", "del", self.bridge], stderr=subprocess.DEVNULL, check=False)
            self.remove_cgroups()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _end_strays(self):
        """What a daemon that could not be asked any more left running, and its mounts."""
        for pid in leaks.processes(self.mark):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for path in sorted(leaks.mounts(), key=len, reverse=True):
            if self.mark in path:
                subprocess.run(["umount", "--lazy", path], stderr=subprocess.DEVNULL, check=False)

    def remove_cgroups(self, but=frozenset()):
        """All that are named for this environment; with a cgroup in `but` everything above it."""
        if not but:
            cgroups.stop_slices(self.mark)
        for path in sorted(leaks.cgroups(self.mark) - but, key=len, reverse=True):
            try:
                os.rmdir(path)
            except OSError:
                pass
