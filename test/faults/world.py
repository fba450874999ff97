"""The node under test: a registry, a daemon that is killed and started again, and a pod beside the one that
suffers, which must notice nothing."""
import os
import pathlib
import signal
import subprocess

import grpc

from harness import failpoints, waiting
from harness.cri import messages
from harness.environment import Environment

COUNT = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done"


class World:
    def __init__(self, programs):
        self.programs = programs
        self.env = Environment(programs)
        self.env.pull()
        self.survivor = Survivor(self.env)
        self.deaths = 0

    @property
    def cri(self):
        return self.env.daemon.cri

    # --- failpoints

    def arm(self, point, action):
        """Not in a belayd that is dead: its successor starts with none."""
        try:
            failpoints.arm(self.env.daemon, point, action)
        except AssertionError:
            assert self.is_dead(), f"{point} cannot be set to {action}"

    def passes(self, point):
        """How often belayd's own point was passed since it was armed."""
        return failpoints.actions(self.env.daemon)[point][1]

    # --- belayd's life

    def is_dead(self, seconds=0.5):
        try:
            self.env.daemon.process.wait(timeout=seconds)
            return True
        except subprocess.TimeoutExpired:
            return False

    def revive(self, seconds=0):
        """Starts belayd if it is dead; whether it was."""
        if not self.is_dead(seconds):
            return False
        self.deaths += 1
        self.env.daemon.kill()
        self.env.daemon.start()
        return True

    def restart_with(self, settings):
        """kill -9, and a successor that starts with these failpoints. Where it does not come so far that it
        serves, another one without them. Gives whether the first one ended."""
        daemon = self.env.daemon
        daemon.kill()
        failpoints.start_with(daemon, settings)

        def settled():
            try:
                return self.is_dead(0) or daemon.cri.runtime.Version(deadline=0.5)
            except grpc.RpcError:
                return None

        waiting.until(settled, "belayd serves or has ended", 30)
        return self.revive()

    def kill_shim(self, pod):
        for pid in self.env.daemon.shims():
            if pod in pathlib.Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGKILL)

    def close(self):
        self.env.close()


class Survivor:
    """A pod that lives through everything: a container counts in it, and its log is read from where it was."""

    def __init__(self, env):
        self.env = env
        self.pod, self.config = env.run_pod(name="survivor")
        self.container = env.create(self.pod, self.config, name="count", script=COUNT)
        env.start(self.container)
        self.started = env.status(self.container).started_at
        self.log = open(os.path.join(self.config.log_directory, "count/0.log"), encoding="ascii")
        self.next, self.rest = 0, ""

    def check(self):
        """It is the same process as ever, and has lost and doubled no line."""
        pb = messages()
        status = self.env.status(self.container)
        assert status.state == pb.CONTAINER_RUNNING, f"the survivor's container is {status}"
        assert status.started_at == self.started, "the survivor's container is another one"
        pods = self.env.cri.runtime.PodSandboxStatus(pod_sandbox_id=self.pod).status
        assert pods.state == pb.SANDBOX_READY, "the survivor's pod is not ready"
        self._read_log()
        before = self.next
        waiting.until(lambda: self._read_log() > before, "the survivor's log grows")

    def _read_log(self):
        lines = (self.rest + self.log.read()).split("\n")
        self.rest = lines.pop()
        for line in lines:
            number = int(line.split(" ", 3)[3])
            assert number == self.next, f"the survivor's log has {number} where {self.next} was due"
            self.next += 1
        return self.next
