"""How containers and pods end: crashes, memory, the manifest gone, and that nothing is left then."""
import time

from harness.kubelet import LOG_LINKS
from harness.kubelet_case import KubeletCase, statuses


class CrashTest(KubeletCase):
    def test_a_crash_loop_backs_off(self):
        self.run_pod("crashes", self.container(script="echo attempt; echo why > /dev/termination-log; exit 3"))
        pod = self.wait_pod(
            "crashes",
            lambda pod: (state := statuses(pod).get("main"))
            and state["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"
            and state["restartCount"] >= 2,
            "backs off after two restarts",
        )
        state = statuses(pod)["main"]
        self.assertIn("back-off", state["state"]["waiting"]["message"])
        ended = state["lastState"]["terminated"]
        self.assertEqual((3, "Error", "why\n"), (ended["exitCode"], ended["reason"], ended["message"]))
        self.assertEqual("Running", pod["status"]["phase"])
        # The kubelet keeps the last dead container, and its log.
        self.assertEqual(["attempt"], self.log_lines(pod, attempt=state["restartCount"]))

    def test_a_pod_that_is_done(self):
        self.run_pod("done", self.container(script="exit 0"), restartPolicy="Never")
        pod = self.wait_pod("done", lambda pod: pod["status"]["phase"] == "Succeeded", "succeeded")
        self.assertEqual("Completed", statuses(pod)["main"]["state"]["terminated"]["reason"])

    def test_what_cannot_be_started_says_why(self):
        self.run_pod("no-command", {**self.container(), "command": ["/no/such"]}, restartPolicy="Never")
        self.run_pod("no-image", self.container() | {"image": f"{self.env.registry.host}/no/such:1"})
        self.run_pod("no-registry", self.container() | {"image": "127.0.0.1:1/no/such:1"})
        pod = self.wait_pod("no-command", lambda pod: pod["status"]["phase"] == "Failed", "failed")
        ended = statuses(pod)["main"]["state"]["terminated"]
        self.assertEqual("StartError", ended["reason"])
        self.assertIn("/no/such: No such file or directory", ended["message"])
        for name, reason in (("no-image", "404"), ("no-registry", "RegistryUnavailable")):
            pod = self.wait_pod(
                name, lambda pod: statuses(pod).get("main", {}).get("state", {}).get("waiting", {}).get("message"),
                "says why it waits",
            )
            waiting = statuses(pod)["main"]["state"]["waiting"]
            self.assertIn(waiting["reason"], ("ErrImagePull", "ImagePullBackOff"), waiting)
            self.assertIn(reason, waiting["message"])

    def test_out_of_memory(self):
        # Pages that are really used: dd's buffer is larger than the limit.
        script, limits = "exec dd if=/dev/zero of=/dev/null bs=64M", {"limits": {"memory": "24Mi"}}
        main = self.container(script=script, resources=limits)
        self.run_pod("hungry", main, restartPolicy="Never")
        pod = self.wait_pod("hungry", lambda pod: pod["status"]["phase"] == "Failed", "failed")
        ended = statuses(pod)["main"]["state"]["terminated"]
        self.assertEqual((137, "OOMKilled"), (ended["exitCode"], ended["reason"]))


class StopTest(KubeletCase):
    def test_a_container_says_its_last_words_within_its_grace(self):
        main = self.container(
            script="trap 'echo told to stop; sleep 1; echo last words; exit 0' TERM; echo up; "
            "sleep 1000000 & wait",
            lifecycle={"preStop": {"exec": {"command": ["/bin/sh", "-c", "echo hook > /proc/1/fd/1; sleep 1"]}}},
        )
        self.run_pod("polite", main, grace=20)
        pod = self.wait_ready("polite")
        # The log file goes with the pod; what it held is read from here.
        with open(self.log_file(pod)) as log:
            began = time.monotonic()
            self.remove_pod("polite")
            took = time.monotonic() - began
            lines = [row.rstrip("\n").split(" ", 3)[3] for row in log]
        self.assertEqual(["up", "hook", "told to stop", "last words"], lines)
        self.assertLess(took, 15, "it was waited for only as long as it took")

    def test_one_that_does_not_listen_is_killed_when_its_grace_is_over(self):
        self.run_pod("deaf", self.container(script="trap '' TERM; echo up; sleep 1000000 & wait"), grace=3)
        self.wait_ready("deaf")
        began = time.monotonic()
        self.remove_pod("deaf")
        self.assertGreater(time.monotonic() - began, 2.5)
        self.assertLess(time.monotonic() - began, 15)

    def test_the_kubelet_leaves_nothing_of_a_pod(self):
        """It collects dead pods and their logs once in a minute: this test waits for that."""
        for folder in (self.kubelet.logs, LOG_LINKS):
            self.base.watch(folder)
        self.run_pod("brief", self.container(), volumes=[{"name": "unused", "emptyDir": {"medium": "Memory"}}])
        pod = self.wait_ready("brief")
        self.assertTrue(self.log_file(pod).exists())
        self.kubelet.remove("brief")
        self.wait(lambda: not self.env.cri.runtime.ListPodSandbox().items, "the kubelet has removed the pod", 150)
        self.assertFalse(self.env.cri.runtime.ListContainers().containers)
        self.assertFalse(self.env.daemon.shims())
        self.base.check(150)
