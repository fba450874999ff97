"""What a runtime may leave behind on the host, and the check that it left nothing."""
import collections
import os
import pathlib
import re
import subprocess
import tempfile

from harness import waiting

CGROUPS = pathlib.Path("/sys/fs/cgroup")


def processes(mark):
    """pid -> command line of every process that names `mark` in its arguments or its cgroups."""
    found = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = pathlib.Path(entry.path, "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            cgroup = pathlib.Path(entry.path, "cgroup").read_text()
        except OSError:
            continue
        if (mark in command or mark in cgroup) and not waits_for_init(entry.path):
            found[int(entry.name)] = command or cgroup
    return found


def waits_for_init(path):
    """Whether it is dead and only PID 1 has still to reap it, which some do once in a second."""
    try:
        state, parent = pathlib.Path(path, "stat").read_text().rsplit(")", 1)[1].split()[:2]
    except OSError:
        return True
    return state == "Z" and parent == "1"


def mounts():
    lines = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    return collections.Counter(line.split()[4] for line in lines)


def is_foreign(path, mark):
    """Whether a mount is of another test run on this machine."""
    return ("belay-" in path and mark not in path) or os.path.basename(path) in foreign_namespaces(mark)


def foreign_namespaces(mark):
    """Names of network namespaces that shims of other test runs on this machine have in their records."""
    found = set()
    for record in pathlib.Path(tempfile.gettempdir()).glob("belay-*/d/state/pods/*/state"):
        if mark not in str(record):
            try:
                found.update(name.decode() for name in re.findall(rb"cni-[0-9a-f-]{36}", record.read_bytes()))
            except OSError:
                pass
    return found


def cgroups(mark):
    """Every cgroup, in any hierarchy, whose path holds `mark`."""
    found = set()
    for folder, folders, _ in os.walk(CGROUPS):
        found.update(os.path.join(folder, name) for name in folders if mark in os.path.join(folder, name))
    return found


def network_namespaces():
    return set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set()


def bridge_prefix(mark):
    """How the names of bridges of an environment begin: "bly" and its process, as in its mark."""
    return f"bly{int(mark.split('-')[2]) % 100000}x"


def links(mark):
    """Names of veth devices on the host, but for those on other test runs' bridges."""
    output = subprocess.run(
        ["ip", "-o", "link", "show", "type", "veth"], capture_output=True, text=True, check=True
    ).stdout
    foreign = re.compile(rf" master bly(?!{bridge_prefix(mark)[3:]})")
    return {line.split(": ")[1].split("@")[0] for line in output.splitlines() if not foreign.search(line)}


def descriptors(pid):
    """Open file descriptors of a process by kind ("socket", "pipe", or the path)."""
    kinds = collections.Counter()
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            kinds[os.readlink(entry.path).split(":[")[0]] += 1
        except OSError:
            pass
    return kinds


def entries(folders):
    """Paths of what lies directly in any of `folders`, which may be absent."""
    return {entry.path for folder in folders if os.path.isdir(folder) for entry in os.scandir(folder)}


class Baseline:
    """The host before a test. `mark` is what only this environment's names contain; `folders` are
    those whose entries come and go with pods, images and leases."""

    def __init__(self, mark, daemon_pid=None, folders=()):
        self.mark = mark
        self.folders = list(folders)
        self.files = entries(self.folders)
        self.processes = set(processes(mark))
        self.mounts = mounts()
        self.cgroups = cgroups(mark)
        self.namespaces = network_namespaces()
        self.links = links(mark)
        self.daemon_pid = daemon_pid
        self.descriptors = sum(descriptors(daemon_pid).values()) if daemon_pid else 0

    def watch(self, folder):
        """Another folder whose entries have to go."""
        self.folders.append(folder)
        self.files |= entries([folder])

    def leftovers(self):
        """Sentences for everything that is there now and was not at the start."""
        rows = []
        for pid, command in processes(self.mark).items():
            if pid not in self.processes:
                rows.append(f"process {pid}: {command.strip()}")
        new = mounts() - self.mounts
        rows += [f"mount: {path}" for path in new if not is_foreign(path, self.mark)]
        rows += [f"cgroup: {path}" for path in cgroups(self.mark) - self.cgroups]
        namespaces = network_namespaces() - self.namespaces
        if namespaces:
            namespaces -= foreign_namespaces(self.mark)
        rows += [f"network namespace: {name}" for name in namespaces]
        rows += [f"veth: {name}" for name in links(self.mark) - self.links]
        rows += [f"on disk: {path}" for path in entries(self.folders) - self.files]
        if self.daemon_pid:
            if sum(descriptors(self.daemon_pid).values()) > self.descriptors:
                rows.append(f"descriptors of belayd: more than the {self.descriptors} before")
        return rows

    def check(self, seconds=10):
        """Fails with the list of leftovers unless each of them is gone within `seconds`: the kernel
        takes a netns and its veths away on its own time. What comes up meanwhile is of another test
        run on this machine, whose network namespaces cannot be told from one's own."""
        left = self.leftovers()

        def nothing_left():
            still = self.leftovers()
            left[:] = [row for row in left if row in still]
            return not left

        try:
            waiting.until(nothing_left, "nothing left behind", seconds)
        except AssertionError:
            if self.daemon_pid:
                left.append(f"(descriptors of belayd now: {dict(descriptors(self.daemon_pid))})")
            raise AssertionError("left behind:\n  " + "\n  ".join(left)) from None
