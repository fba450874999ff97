"""Pods while belayd is killed under them, or the kubelet over it: none of them notices."""
import os
import signal
import time

from harness import waiting
from harness.kubelet import RELIST
from harness.kubelet_case import KubeletCase, exec_probe, http_probe, is_ready, statuses

PODS = 10
PERIOD = 5  # seconds between two kills
SERVER = "mkdir -p /tmp/www; echo yes > /tmp/www/ready; httpd -p 8080 -h /tmp/www; "


def seconds():
    """How long the daemon is killed for; BELAY_KILL_SECONDS changes it."""
    return int(os.environ.get("BELAY_KILL_SECONDS", "30"))


class DeadTest(KubeletCase):
    def test_an_exit_while_the_daemon_was_dead_is_told_as_it_was(self):
        folder = self.env.folder / "exits"
        folder.mkdir()
        main = self.container(
            script="until test -e /host/go; do sleep 0.05; done; echo last words; exit 5",
            volumeMounts=[{"name": "host", "mountPath": "/host"}],
        )
        host = {"name": "host", "hostPath": {"path": str(folder)}}
        self.run_pod("exits", main, volumes=[host], restartPolicy="Never")
        pod = self.wait_ready("exits")
        self.env.daemon.kill()
        (folder / "go").touch()
        self.wait(lambda: self.log_lines(pod) == ["last words"], "the container is through")
        self.env.daemon.start()
        pod = self.wait_pod("exits", lambda pod: pod["status"]["phase"] == "Failed", "failed")
        ended = statuses(pod)["main"]["state"]["terminated"]
        self.assertEqual((5, "Error"), (ended["exitCode"], ended["reason"]))

    def test_manifests_that_come_and_go_while_the_daemon_is_dead(self):
        self.run_pod("goes", self.container())
        pod = self.wait_ready("goes")
        self.env.daemon.kill()
        self.kubelet.remove("goes")
        self.run_pod("comes", self.container())
        self.wait(lambda: list(self.kubelet.pods()) == ["comes"], "the kubelet has seen both manifests")
        self.env.daemon.start()
        self.wait_ready("comes")
        self.wait(lambda: not self.kubelet.cgroups(pod["metadata"]["uid"]), "the other pod is gone")

    def test_a_pod_whose_shim_was_killed_goes_on(self):
        script = "n=0; while :; do echo $n; n=$((n + 1)); sleep 0.1; done"
        self.run_pod("orphaned", self.container(script=script, readinessProbe=exec_probe("true")))
        pod = self.wait_ready("orphaned")
        before = self.container_id(pod)
        (shim,) = self.env.daemon.shims()
        os.kill(shim, signal.SIGKILL)
        # For as long as the kubelet takes to look at everything twice.
        enough = len(self.log_lines(pod)) + 20 * RELIST
        self.wait(lambda: len(self.log_lines(pod)) > enough, "the container goes on")
        pod = self.wait_ready("orphaned")
        self.assertEqual((before, 0), (self.container_id(pod), statuses(pod)["main"]["restartCount"]))
        self.assertConsecutive([int(line) for line in self.log_lines(pod)])
        self.assertEqual(1, len(self.env.daemon.shims()))

    def test_the_kubelet_and_the_daemon_both_begin_anew(self):
        self.run_pod("stays", self.container(readinessProbe=exec_probe("true")))
        before = self.container_id(self.wait_ready("stays"))
        self.env.restart()
        self.kubelet.restart()
        pod = self.wait_ready("stays")
        self.assertEqual((before, 0), (self.container_id(pod), statuses(pod)["main"]["restartCount"]))


class DaemonKilledTest(KubeletCase):
    def test_pods_neither_restart_nor_lose_readiness(self):
        # A line each tenth of a second, numbered, so that a lost one shows.
        counts = "n=0; while :; do echo $n; n=$((n + 1)); sleep 0.1; done"
        for number in range(PODS):
            by_exec, by_http = exec_probe("cat /tmp/www/ready"), http_probe("/ready", 8080)
            ready, alive = (by_exec, by_http) if number % 2 else (by_http, by_exec)
            probes = {"readinessProbe": ready, "livenessProbe": {**alive, "failureThreshold": 3}}
            limits = {"limits": {"memory": "64Mi"}}
            self.run_pod(f"ten-{number}", self.container(script=SERVER + counts, resources=limits, **probes))
        pods = {f"ten-{number}": self.wait_ready(f"ten-{number}") for number in range(PODS)}
        before = {name: self.container_id(pod) for name, pod in pods.items()}

        lost, kills = self._kill_again_and_again(before)
        self.assertGreaterEqual(kills, seconds() // PERIOD)
        self.assertFalse({name: took for name, took in lost.items() if took > RELIST}, "readiness was lost for so long")

        for name in before:
            pod = self.wait_ready(name)
            self.assertEqual((before[name], 0), (self.container_id(pod), statuses(pod)["main"]["restartCount"]), name)
            written = self.wait(lambda: self.all_log_lines(pod), f"{name}'s log is read")
            lines = self.assertConsecutive([int(line) for line in written])
            self.assertGreater(lines, seconds() * 2, f"{name} went on all the time")
        # What was not needed was not made.
        self.assertEqual(PODS, len(self.env.cri.runtime.ListContainers().containers))
        self.assertEqual(PODS, len(self.env.cri.runtime.ListPodSandbox().items))

    def _kill_again_and_again(self, names):
        """Looks at the pods all the while; the longest time each was not ready, and the number of kills."""
        longest, since, kills = {}, {}, 0
        began = time.monotonic()

        def look():
            nonlocal kills
            now = time.monotonic()
            if now > began + kills * PERIOD:
                self.env.restart()
                kills += 1
            pods = self.kubelet.pods()
            for name in names:
                if is_ready(pods[name]):
                    since.pop(name, None)
                else:
                    since.setdefault(name, now)
                    longest[name] = max(longest.get(name, 0), now - since[name])
            return now > began + seconds()

        waiting.until(look, "the time is over", seconds() + 60, interval=0.05)
        return longest, kills
