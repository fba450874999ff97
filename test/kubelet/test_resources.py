"""Requests and limits of a manifest, down to the kernel's files, and back in the pod's status."""
import json
import pathlib

from harness import leaks
from harness.kubelet_case import KubeletCase, statuses


def cgroup_files(pid, controller):
    """The folder of a process's cgroup in a v1 hierarchy."""
    for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return leaks.CGROUPS / controller / path.lstrip("/")
    raise AssertionError(f"process {pid} is in no {controller} hierarchy")


class ResourceTest(KubeletCase):
    def first_process(self, pod):
        info = self.env.cri.runtime.ContainerStatus(container_id=self.container_id(pod), verbose=True).info["info"]
        return json.loads(info)["pid"]

    def test_limits_reach_the_kernel_and_the_status(self):
        resources = {"requests": {"cpu": "100m", "memory": "16Mi"}, "limits": {"cpu": "250m", "memory": "48Mi"}}
        self.run_pod("limited", self.container(resources=resources))
        pod = self.wait_ready("limited")
        pid = self.first_process(pod)

        cpu = cgroup_files(pid, "cpu")
        self.assertIn(f"/kubepods/burstable/pod{pod['metadata']['uid']}/", str(cpu))
        for folder in (cpu, cpu.parent):
            self.assertEqual("102", (folder / "cpu.shares").read_text().strip(), folder)
            self.assertEqual("25000", (folder / "cpu.cfs_quota_us").read_text().strip(), folder)
        memory = cgroup_files(pid, "memory")
        for folder in (memory, memory.parent):
            self.assertEqual(48 << 20, int((folder / "memory.limit_in_bytes").read_text()), folder)
        self.assertEqual("500", (cgroup_files(pid, "pids").parent / "pids.max").read_text().strip())
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
        self.assertIn("/kubepods/pod", str(cgroup_files(self.first_process(guaranteed), "memory")))
        self.assertIn("/kubepods/besteffort/pod", str(cgroup_files(self.first_process(best_effort), "memory")))
        self.assertEqual(
            "1000", pathlib.Path(f"/proc/{self.first_process(best_effort)}/oom_score_adj").read_text().strip()
        )
