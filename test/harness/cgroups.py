"""Cgroups as the machine has them (v1, hybrid, v2) and as a client with either driver names them."""
import os
import pathlib
import subprocess

ROOT = pathlib.Path("/sys/fs/cgroup")

# As belayd's setting cgroup_driver.
DRIVER = os.environ.get("BELAY_CGROUP_DRIVER", "cgroupfs")


def is_v2_alone():
    return (ROOT / "cgroup.controllers").exists()


def has(controller):
    """Whether any hierarchy has the controller."""
    if is_v2_alone():
        return controller in (ROOT / "cgroup.controllers").read_text().split()
    lines = pathlib.Path("/proc/self/cgroup").read_text().splitlines()
    return any(controller in line.split(":", 2)[1].split(",") for line in lines)


def slice_path(name):
    """Where systemd has a slice: "a-b.slice" is at "/a.slice/a-b.slice"."""
    parts = name.removesuffix(".slice").split("-")
    return "".join("/" + "-".join(parts[: end + 1]) + ".slice" for end in range(len(parts)))


def pod_parent(mark, uid):
    """cgroup_parent of a pod, as a kubelet with this driver writes it. With systemd all pods of a test
    share a slice: one for each would have to be stopped as the kubelet does."""
    return slice_path(f"{mark}-kubepods.slice") if DRIVER == "systemd" else f"/{mark}/kubepods/pod{uid}"


def stop_slices(mark):
    """The slices that systemd made for the environment of this name stay until they are stopped."""
    if DRIVER == "systemd":
        subprocess.run(["systemctl", "stop", f"{mark}.slice"], check=True)


def folder(pid, controller):
    """The folder of the process's cgroup in the hierarchy that has the controller."""
    for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return ROOT / controllers.removeprefix("name=") / path[1:]
        if not controllers and is_v2_alone():
            return ROOT / path[1:]
    raise AssertionError(f"no cgroup hierarchy has {controller}")


# --- a kubelet's, whose driver is the runtime's


def kubelet_root(mark):
    """The kubelet's cgroupRoot. With systemd it is the machine's, where kubepods.slice appears."""
    return "/" if DRIVER == "systemd" else f"/{mark}"


def make_kubelet_root(mark):
    """The root, which has to be there, and its classes of pods, which the kubelet makes itself only in
    hierarchies that it sets limits in; in the others the runtime would be the first."""
    if DRIVER == "systemd":
        return
    for hierarchy in [ROOT] if is_v2_alone() else [path for path in ROOT.iterdir() if not path.is_symlink()]:
        for name in ("", "kubepods", "kubepods/burstable", "kubepods/besteffort"):
            path = hierarchy / mark / name
            path.mkdir(exist_ok=True)
            if is_v2_alone():
                controllers = (path.parent / "cgroup.controllers").read_text().split()
                (path.parent / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))
                continue
            for file in ("cpuset.cpus", "cpuset.mems"):
                if (path / file).exists():
                    (path / file).write_text((path.parent / file).read_text())


def kubelet_pods(mark, uid=""):
    """Folders of the pod's cgroup, or of all pods' cgroups. Any may go while they are looked for."""
    if DRIVER == "systemd":
        return [path for path in _below(ROOT / "kubepods.slice") if f"-pod{uid.replace('-', '_')}" in path]
    return [path for path in _below(ROOT) if f"/{mark}/kubepods/" in path and f"/pod{uid}" in path]


def _below(top):
    return [os.path.join(folder, name) for folder, names, _ in os.walk(top) for name in names]
