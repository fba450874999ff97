"""Requests and limits of a manifest, down to the kernel's files, and back in the pod's status."""
import pathlib

from harness import cgroups
from harness.kubelet_case import KubeletCase, statuses


class ResourceTest(KubeletCase):
    def first_process(self, pod):
        return self.env.pid(self.container_id(pod))

    def folders(self, pid, controller):
        """The cgroups of a container and of its pod."""
        own = cgroups.folder(pid, controller)
        return own, own.parent.parent if cgroups.DRIVER == "systemd" else own.parent

    def place(self, quality, pod):
        """What the paths of a pod's cgroups hold; `quality` is empty for guaranteed ones."""
        uid = pod["metadata"]["uid"]
        if cgroups.DRIVER == "systemd":
            return "/" + "-".join(filter(None, ["kubepods", quality, f"pod{uid.replace('-', '_')}.slice/"]))
        return "/" + "/".join(filter(None, ["kubepods", quality, f"pod{uid}/"]))

    def test_limits_reach_the_kernel_and_the_status(self):
        resources = {"requests": {"cpu": "100m", "memory": "16Mi"}, "limits": {"cpu": "250m", "memory": "48Mi"}}
        self.run_pod("limited", self.container(resources=resources))
        pod = self.wait_ready("limited")
        pid = self.first_process(pod)

        cpu = self.folders(pid, "cpu")
        self.assertIn(self.place("burstable", pod), str(cpu[0]))
        # A pod's weight is the kubelet's own reckoning, which is not that of the runtimes.
        shares, quota = ("cpu.weight", ["17", "4"]), ("cpu.max", ["25000 100000"] * 2)
        if not cgroups.is_v2_alone():
            shares, quota = ("cpu.shares", ["102"] * 2), ("cpu.cfs_quota_us", ["25000"] * 2)
        for name, texts in (shares, quota):
            self.assertEqual(texts, [(folder / name).read_text().strip() for folder in cpu], name)
        name = "memory.max" if cgroups.is_v2_alone() else "memory.limit_in_bytes"
        self.assertEqual([48 << 20] * 2, [int((folder / name).read_text()) for folder in self.folders(pid, "memory")])
        self.assertEqual("500", (self.folders(pid, "pids")[1] / "pids.max").read_text().strip())
        self.assertEqual("Burstable", pod["status"]["qosClass"])
        reported = statuses(pod)["main"]["resources"]
        self.assertEqual(resources, reported)

    def test_guaranteed_and_best_effort_pods_have_their_places(self):
        limits = {"limits": {"cpu": "100m", "memory": "32Mi"}}
        self.run_pod("guaranteed", self.container(resources=limits))
        self.run_pod("best-effort", self.container())
        guaranteed, best_effort = self.wait_ready("guaranteed"), self.wait_ready("best-effort")
        self.assertEqual("Guaranteed", guaranteed["status"]["qosClass"])
        self.assertEqual("BestEffort", best_effort["status"]["qosClass"])
        for quality, pod in (("", guaranteed), ("besteffort", best_effort)):
            folder = cgroups.folder(self.first_process(pod), "memory")
            self.assertIn(self.place(quality, pod), str(folder))
        self.assertEqual(
            "1000", pathlib.Path(f"/proc/{self.first_process(best_effort)}/oom_score_adj").read_text().strip()
        )
