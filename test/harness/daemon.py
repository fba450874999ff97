"""belayd under a temporary root of its own, and how it is killed and started again."""
import json
import os
import pathlib
import signal
import subprocess

from harness import cgroups, waiting
from harness.cri import Cri


def find_programs(given=None):
    """The folder with belayd, belayctl, belay-shim and belay-pull."""
    folder = given or os.environ.get("BELAY_BIN")
    if not folder:
        raise SystemExit("say where the programs are: --bin DIR, or BELAY_BIN (scripts/test does)")
    return pathlib.Path(folder)


def write_network(folder, name, subnet, data):
    """A bridge network with host-local addresses and host ports, named for this environment alone."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "10-test.conflist").write_text(
        json.dumps(
            {
                "cniVersion": "1.0.0",
                "name": name,
                "plugins": [
                    {
                        "type": "bridge",
                        "bridge": name,
                        "isGateway": True,
                        "ipMasq": False,
                        "ipam": {
                            "type": "host-local",
                            "dataDir": str(data),
                            "ranges": [[{"subnet": subnet}]],
                            "routes": [{"dst": "0.0.0.0/0"}],
                        },
                    },
                    {"type": "portmap", "capabilities": {"portMappings": True}},
                ],
            }
        )
    )


class Belayd:
    """One daemon; everything it owns lies below `folder`, but what it keeps may lie in `root`, and in
    cgroups named `mark`."""

    def __init__(self, programs, folder, mark, registry_config, cni_conf_dir, extra=(), root=None):
        self.programs, self.folder, self.mark = programs, pathlib.Path(folder), mark
        self.root, self.state = root or self.folder / "root", self.folder / "state"
        self.socket = self.folder / "belay.sock"
        self.endpoint = f"unix://{self.socket}"
        self.log_path = self.folder / "belayd.log"
        self.plugins = self.folder / "plugins"  # CNI plug-ins of a test's own; made by the test
        config = self.folder / "config.toml"
        if not config.exists():
            config.write_text("")
        self.arguments = [
            str(programs / "belayd"),
            "--config", str(config),
            "--root", str(self.root),
            "--state", str(self.state),
            "--listen", self.endpoint,
            "--cni-conf-dir", str(cni_conf_dir),
            "--cni-bin-dir", str(self.plugins),
            "--cni-bin-dir", "/usr/lib/cni",
            "--registry-config", str(registry_config),
            "--cgroup-root", mark,
            "--cgroup-driver", cgroups.DRIVER,
            "--log-level", "debug",
            *extra,
        ]
        self.process = None
        self.cri = None
        self.manager = None  # a service manager that starts it

    def start(self):
        with open(self.log_path, "ab") as log:
            if self.manager:
                self.process = self.manager.launch(self.arguments, log)
            else:
                self.process = subprocess.Popen(
                    self.arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL
                )
        self.cri = Cri(self.endpoint)
        try:
            self.cri.wait_until_serving()
        except Exception:
            raise AssertionError(f"belayd does not serve; its log ends:\n{self.log_tail()}") from None
        return self

    def log_tail(self, lines=40):
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def kill(self):
        """SIGKILL, as an operator's worst day: no clean-up of any kind runs."""
        self._end(signal.SIGKILL)

    def stop(self):
        self._end(signal.SIGTERM)

    def _end(self, number):
        if self.cri:
            self.cri.close()
            self.cri = None
        if self.process:
            self.process.send_signal(number)
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"belayd did not end on {number.name}:\n{self.log_tail()}") from None
            self.process = None

    def shims(self):
        """pids of this daemon's shims; not of their children, which are called so until they run a container's."""
        found = {}
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                try:
                    command = pathlib.Path(entry.path, "cmdline").read_bytes()
                except OSError:
                    continue
                if b"belay-shim" in command.split(b"\0")[0] and str(self.state).encode() in command:
                    stat = pathlib.Path(entry.path, "stat").read_text(errors="replace")
                    found[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
        return [pid for pid, parent in found.items() if parent not in found]

    def clients(self):
        """How many connections it has accepted on the CRI socket."""
        inodes = set()
        for entry in os.scandir(f"/proc/{self.process.pid}/fd"):
            kind, _, inode = os.readlink(entry.path).partition(":[")
            if kind == "socket":
                inodes.add(inode.rstrip("]"))
        # Num RefCount Protocol Flags Type St Inode Path; 03 is connected, and only the accepted end has a path.
        rows = [row.split() for row in pathlib.Path("/proc/net/unix").read_text().splitlines()[1:]]
        return sum(
            1 for row in rows
            if len(row) == 8 and row[5] == "03" and row[6] in inodes and row[7].endswith("/" + self.socket.name)
        )

    def wait_for_log(self, text, seconds=20):
        waiting.until(lambda: text in self.log_path.read_text(errors="replace"), f"{text!r} in belayd's log", seconds)
