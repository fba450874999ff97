"""Failpoints of a running belayd and of those that it starts (shim/failpoint/failpoint.h)."""
import os
import subprocess

from harness.cri import Cri


def belayctl(daemon, *words):
    """The finished process."""
    return subprocess.run(
        [daemon.programs / "belayctl", "--state", daemon.state, *words],
        capture_output=True, text=True, timeout=20, check=False)


def arm(daemon, point, action, pod=None):
    """In belayd itself, in processes that it starts from now on, or in the shim of a pod."""
    done = belayctl(daemon, "debug", "failpoint", point, action, *(["--pod", pod] if pod else []))
    assert done.returncode == 0, done.stderr


def actions(daemon, pod=None):
    """{name: (action, passes)}."""
    done = belayctl(daemon, "debug", "failpoints", *(["--pod", pod] if pod else []))
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    return {row[0]: (row[1], int(row[2])) for row in rows}


def start_with(daemon, failpoints):
    """Starts a belayd that is not running, and that may die or fail while it starts: does not wait for it."""
    with open(daemon.log_path, "ab") as log:
        daemon.process = subprocess.Popen(
            daemon.arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            env={**os.environ, "BELAY_FAILPOINTS": failpoints})
    daemon.cri = Cri(daemon.endpoint)
