"""A restart of the machine as a daemon sees it, on a machine that goes on."""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import uuid

from harness import leaks, waiting

BOOT_ID = pathlib.Path("/proc/sys/kernel/random/boot_id")


def power_off(env, base, run_is_memory=True):
    """Whatever has come since `base` (leaks.Baseline) and would not outlive a power cut is gone: the
    daemon, all that lives for it, mounts, cgroups, network namespaces. With `run_is_memory` false, what
    lay in /run stays as plain files. What is on the disk is of another boot from now on. The daemon is
    not started."""
    daemon = env.daemon
    daemon.kill()
    pins = _pins(daemon)
    end_all(daemon, pins)
    env.remove_cgroups(base.cgroups)
    if run_is_memory:
        shutil.rmtree(daemon.state)
        for path in pins:
            os.unlink(path)
    age(daemon)


def _pins(daemon):
    """Where the network namespaces of its pods are; others on this machine are other test runs'."""
    with edited(daemon) as database:
        records = [record for record, in database.execute("SELECT record FROM pods")]
    found = {path.decode() for record in records for path in re.findall(rb"/run/netns/cni-[0-9a-f-]{36}", record)}
    return {path for path in found if os.path.exists(path)}


def end_all(daemon, pins=()):
    """No process of the daemon lives, and nothing is mounted below its folder or at `pins`."""
    if daemon.process:
        daemon.kill()

    def lives():
        return [pid for pid, text in leaks.processes(daemon.mark).items() if _is_of(daemon, pid, text)]

    def none_lives():
        for pid in lives():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return not lives()

    waiting.until(none_lives, "nothing of the daemon lives")
    for path in sorted(leaks.mounts(), key=len, reverse=True):
        if str(daemon.folder) in path or path in pins:
            subprocess.run(["umount", "--lazy", path], check=True)


def _is_of(daemon, pid, command):
    """Not the registry, say, which is another machine's."""
    try:
        return str(daemon.folder) in command or daemon.mark in pathlib.Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return False


def age(daemon):
    """Whatever names this boot on the disk names another one."""
    now, other = BOOT_ID.read_text().strip().encode(), str(uuid.uuid4()).encode()
    with edited(daemon) as database:
        for name, record in database.execute("SELECT id, record FROM pods").fetchall():
            assert now in record, "the record does not say in which boot the pod was made"
            database.execute("UPDATE pods SET record = ? WHERE id = ?", (record.replace(now, other), name))
    (daemon.root / "content/boot").write_bytes(other)


@contextlib.contextmanager
def edited(daemon):
    """The database of a daemon that does not run, behind its back."""
    connection = sqlite3.connect(daemon.root / "belay.db")
    try:
        yield connection
        connection.commit()
    finally:
        connection.close()
