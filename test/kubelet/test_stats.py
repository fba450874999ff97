"""The kubelet's summary and metrics of pods, filled from the CRI: its gate PodAndContainerStatsFromCRI is on.

With the gate off, as it is by default, pods have no network and no process count there, and their CPU and memory are
what cAdvisor saw of the pod's cgroup some seconds ago: it knows containers of containerd and CRI-O alone.
"""
import re

from harness.kubelet import NODE
from harness.kubelet_case import KubeletCase

MIB = 1 << 20
LIMIT = 64 * MIB

# Known amounts: 3 MiB on the root file system, 8 MiB in memory, a log, and two seconds of work.
SCRIPT = """
head -c 3145728 /dev/zero > /root/file; head -c 8388608 /dev/zero > /dev/shm/file
echo a line of log
end=$(($(date +%s) + 3)); while test $(date +%s) -lt $end; do n=0; while test $n -lt 20000; do n=$((n + 1)); done; done
touch /root/worked; sleep 1000000 & wait
"""


class StatsTest(KubeletCase):
    def setUp(self):
        super().setUp()
        main = self.container(script=SCRIPT, resources={"limits": {"memory": "64Mi"}})
        self.run_pod("counted", main, self.container("idle"))
        self.pod = self.wait_ready("counted")
        container = self.container_id(self.pod)
        self.wait(lambda: self.env.exec(container, "test", "-e", "/root/worked")[0] == 0, "the work is done")

    def summary(self, query=""):
        pods = self.kubelet.get("/stats/summary" + query)["pods"]
        (found,) = [pod for pod in pods if pod["podRef"]["name"] == f"counted-{NODE}"]
        return found

    def full(self, stats):
        """Whether all is there that is measured now and then only, and not when it is asked for."""
        (main,) = [row for row in stats["containers"] if row["name"] == "main"]
        return main["rootfs"].get("usedBytes", 0) >= 3 * MIB and main["cpu"].get("usageNanoCores")

    def test_the_summary_is_filled(self):
        stats = self.wait(lambda: (found := self.summary()) and self.full(found) and found, "all stats are there", 90)
        self.assertEqual(self.pod["metadata"]["uid"], stats["podRef"]["uid"])
        containers = {row["name"]: row for row in stats["containers"]}
        self.assertEqual({"main", "idle"}, set(containers))
        main, idle = containers["main"], containers["idle"]

        self.assertGreater(main["cpu"]["usageCoreNanoSeconds"], 500_000_000)
        self.assertLess(idle["cpu"]["usageCoreNanoSeconds"], 500_000_000)
        self.assertGreaterEqual(stats["cpu"]["usageCoreNanoSeconds"], main["cpu"]["usageCoreNanoSeconds"])

        memory = main["memory"]
        self.assertTrue(8 * MIB <= memory["workingSetBytes"] <= memory["usageBytes"] < LIMIT, memory)
        self.assertTrue(0 < memory["rssBytes"] < 8 * MIB, memory)
        self.assertTrue(0 < memory["availableBytes"] <= LIMIT - 8 * MIB, memory)
        self.assertGreater(memory["pageFaults"], 0)
        self.assertLess(idle["memory"]["workingSetBytes"], 8 * MIB)
        self.assertGreaterEqual(stats["memory"]["workingSetBytes"], memory["workingSetBytes"])

        self.assertTrue(3 * MIB <= main["rootfs"]["usedBytes"] < 4 * MIB, main["rootfs"])
        self.assertLess(idle["rootfs"]["usedBytes"], MIB)
        self.assertGreater(main["rootfs"]["inodesUsed"], 0)
        self.assertGreater(main["logs"]["usedBytes"], 0)

        self.assertEqual("eth0", stats["network"]["name"])
        # Neighbour discovery and the like: every pod has sent something by then.
        self.assertGreater(stats["network"]["txBytes"], 0)
        # A shell with a sleep in each of both.
        self.assertEqual(4, stats["process_stats"]["process_count"])

    def test_cpu_and_memory_alone(self):
        stats = self.summary("?only_cpu_and_memory=true")
        for row in (stats, *stats["containers"]):
            self.assertGreater(row["cpu"]["usageCoreNanoSeconds"], 0)
            self.assertGreater(row["memory"]["workingSetBytes"], 0)

    def test_metrics_for_autoscalers(self):
        metrics = self.kubelet.request("GET", "/metrics/resource")
        self.assertIn("\nscrape_error 0\n", metrics)
        pod = f'namespace="test",pod="counted-{NODE}"'
        for name, least in (
            (f'container_cpu_usage_seconds_total{{container="main",{pod}}}', 0.5),
            (f'container_memory_working_set_bytes{{container="main",{pod}}}', 8 * MIB),
            (f"pod_cpu_usage_seconds_total{{{pod}}}", 0.5),
            (f"pod_memory_working_set_bytes{{{pod}}}", 8 * MIB),
        ):
            value = re.search(re.escape(name) + r" (\S+) \d+", metrics)
            self.assertTrue(value, name)
            self.assertGreater(float(value[1]), least, name)
