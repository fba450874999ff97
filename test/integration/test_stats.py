"""What containers and pods use, next to what the kernel itself says about them."""
import os
import pathlib
import signal
import time

import grpc

from harness import waiting
from harness.case import Case

BUSY = "while :; do :; done"
MIB = 1 << 20


class StatsTest(Case):
    def running(self, script="sleep 1000", network=False, **fields):
        env = self.env
        pod, config = env.run_pod(host_network=not network)
        container = env.create(pod, config, script=script, **fields)
        env.start(container)
        return pod, config, container

    def stats(self, container):
        return self.env.cri.runtime.ContainerStats(container_id=container).stats

    def listed(self, **filters):
        reply = self.env.cri.runtime.ListContainerStats(filter=self.pb.ContainerStatsFilter(**filters))
        return {item.attributes.id for item in reply.stats}

    def listed_pods(self, **filters):
        reply = self.env.cri.runtime.ListPodSandboxStats(filter=self.pb.PodSandboxStatsFilter(**filters))
        return {item.attributes.id for item in reply.stats}

    def test_a_containers_use_is_told(self):
        env = self.env
        config = env.container_config(
            script="x=$(head -c 8000000 /dev/zero | tr '\\0' x); head -c 3000000 /dev/zero > /written; "
            "touch /a /b; echo up; sleep 1000; :"
        )
        config.linux.resources.memory_limit_in_bytes = 64 * MIB
        pod, pod_config = env.run_pod(host_network=True)
        before = time.time_ns()
        container = env.create(pod, pod_config, config)
        env.start(container)
        waiting.until(lambda: env.log_lines(pod_config), "the container has used what it will")
        stats = self.stats(container)
        after = time.time_ns()

        self.assertEqual((container, "main"), (stats.attributes.id, stats.attributes.metadata.name))
        self.assertEqual(dict(config.labels), dict(stats.attributes.labels))
        for part in (stats.cpu, stats.memory):
            self.assertLessEqual(before, part.timestamp)
            self.assertLessEqual(part.timestamp, after)
        self.assertGreater(stats.cpu.usage_core_nano_seconds.value, 1_000_000)
        memory = stats.memory
        self.assertGreater(memory.rss_bytes.value, 8_000_000)
        self.assertLessEqual(memory.rss_bytes.value, memory.working_set_bytes.value)
        self.assertLessEqual(memory.working_set_bytes.value, memory.usage_bytes.value)
        self.assertEqual(64 * MIB - memory.working_set_bytes.value, memory.available_bytes.value)
        self.assertGreater(memory.page_faults.value, 1000)
        layer = stats.writable_layer
        self.assertGreater(layer.timestamp, 0)
        self.assertGreaterEqual(layer.used_bytes.value, 3_000_000)
        self.assertLess(layer.used_bytes.value, 4_000_000)
        self.assertGreaterEqual(layer.inodes_used.value, 4)
        if pathlib.Path("/proc/pressure/cpu").exists() and env.daemon:
            self.assertTrue(stats.cpu.HasField("psi") and stats.memory.HasField("psi") and stats.io.HasField("psi"))

    def test_cpu_use_grows_and_has_a_rate(self):
        _, _, container = self.running(BUSY)
        first = self.stats(container)

        def later():
            stats = self.stats(container)
            if stats.cpu.timestamp < first.cpu.timestamp + 1_100_000_000:
                return None
            return stats

        second = waiting.until(later, "a second later")
        seconds = (second.cpu.timestamp - first.cpu.timestamp) / 1e9
        used = second.cpu.usage_core_nano_seconds.value - first.cpu.usage_core_nano_seconds.value
        self.assertGreater(used, 0)
        self.assertLessEqual(used / seconds, 1.2e9)
        if self.env.daemon:
            self.assertAlmostEqual(used / seconds, second.cpu.usage_nano_cores.value, delta=0.3e9)

    def test_lists_are_filtered_and_hold_what_runs(self):
        env = self.env
        pod, config, container = self.running(labels={"app": "one"})
        other_pod, _, other = self.running(labels={"app": "two"})
        created = env.create(pod, config, name="waiting", script="sleep 1000")
        exited = env.create(pod, config, name="done", script="true")
        env.start(exited)
        env.wait_exited(exited)

        everything = self.listed()
        self.assertLessEqual({container, other}, everything)
        self.assertNotIn(exited, everything)
        if env.daemon:
            self.assertNotIn(created, everything)
        self.assertEqual({other}, self.listed(id=other))
        self.assertEqual({other}, self.listed(id=other[:13]))
        self.assertEqual({container}, self.listed(pod_sandbox_id=pod) - {created})
        self.assertEqual({other}, self.listed(label_selector={"app": "two"}))
        self.assertEqual(set(), self.listed(id=other, label_selector={"app": "one"}))
        self.assertEqual(set(), self.listed(id="nosuch"))
        self.assertLessEqual({pod, other_pod}, self.listed_pods())
        self.assertEqual({pod}, self.listed_pods(id=pod))
        self.assertEqual({pod}, self.listed_pods(label_selector=dict(config.labels)))

        with self.assertCode(grpc.StatusCode.FAILED_PRECONDITION, "does not run"):
            self.stats(exited)
        with self.assertCode(grpc.StatusCode.NOT_FOUND, "nosuch"):
            self.stats("nosuch")
        env.cri.runtime.StopPodSandbox(pod_sandbox_id=other_pod)
        self.assertNotIn(other_pod, self.listed_pods())
        self.assertNotIn(other, self.listed())
        with self.assertCode(grpc.StatusCode.FAILED_PRECONDITION, "not ready"):
            env.cri.runtime.PodSandboxStats(pod_sandbox_id=other_pod)

    def test_streams_say_what_lists_say(self):
        self.only_belay()
        env, pb = self.env, self.pb
        pod, _, container = self.running()
        messages = list(env.cri.runtime.StreamContainerStats(filter=pb.ContainerStatsFilter(id=container)))
        self.assertEqual([container], [item.attributes.id for one in messages for item in one.container_stats])
        messages = list(env.cri.runtime.StreamPodSandboxStats(filter=pb.PodSandboxStatsFilter(id=pod)))
        self.assertEqual([pod], [item.attributes.id for one in messages for item in one.pod_sandbox_stats])

    def test_a_pods_use_is_its_containers_and_its_networks(self):
        env = self.env
        pod, config, container = self.running("ping -c 3 -i 1 $GATEWAY > /dev/null; echo pinged; sleep 1000",
                                              network=True, envs=[self.pb.KeyValue(key="GATEWAY", value=b"127.0.0.1")])
        second = env.create(pod, config, name="second", script=BUSY)
        env.start(second)
        ip = env.cri.runtime.PodSandboxStatus(pod_sandbox_id=pod).status.network.ip
        gateway = ip.rsplit(".", 1)[0] + ".1"
        self.assertEqual(0, env.exec(container, "ping", "-c", "2", "-W", "2", gateway)[0])

        stats = env.cri.runtime.PodSandboxStats(pod_sandbox_id=pod).stats
        self.assertEqual((pod, config.metadata), (stats.attributes.id, stats.attributes.metadata))
        usage = stats.linux
        self.assertEqual({container, second}, {item.attributes.id for item in usage.containers})
        self.assertGreaterEqual(usage.process.process_count.value, 2)
        self.assertGreaterEqual(
            usage.cpu.usage_core_nano_seconds.value,
            max(item.cpu.usage_core_nano_seconds.value for item in usage.containers),
        )
        self.assertGreater(usage.memory.working_set_bytes.value, 0)
        network = usage.network
        self.assertGreater(network.timestamp, 0)
        self.assertEqual("eth0", network.default_interface.name)
        # Two echoes of 98 bytes each way at least.
        self.assertGreaterEqual(network.default_interface.tx_bytes.value, 2 * 98)
        self.assertGreaterEqual(network.default_interface.rx_bytes.value, 2 * 98)
        self.assertNotIn("lo", [item.name for item in network.interfaces])

    def test_use_is_told_after_a_restart(self):
        self.only_belay()
        env = self.env
        _, _, container = self.running()
        before = self.stats(container)
        env.restart()
        after = self.stats(container)
        self.assertGreaterEqual(
            after.cpu.usage_core_nano_seconds.value, before.cpu.usage_core_nano_seconds.value
        )
        self.assertGreater(after.cpu.timestamp, before.cpu.timestamp)

    def test_a_shim_that_is_silent_costs_a_list_its_own_pod_alone(self):
        self.only_belay()
        env = self.env
        _, _, silent = self.running()
        shims = env.daemon.shims()
        _, _, other = self.running()
        os.kill(shims[0], signal.SIGSTOP)
        self.addCleanup(os.kill, shims[0], signal.SIGCONT)
        began = time.monotonic()
        self.assertEqual({other}, self.listed())
        self.assertLess(time.monotonic() - began, 5)
        with self.assertCode(grpc.StatusCode.UNAVAILABLE, "does not answer"):
            self.stats(silent)
        os.kill(shims[0], signal.SIGCONT)
        self.assertEqual({silent, other}, self.listed())
