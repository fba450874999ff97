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
