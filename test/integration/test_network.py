"""Pod networks through real CNI plug-ins."""
import json
import pathlib
import socket
import subprocess

import grpc

from harness import registry, waiting
from harness.case import Case

ANSWER = "while :; do echo hello | nc -l -p 8080; done"


class NetworkTest(Case):
    def ip_of(self, pod):
        return self.env.cri.runtime.PodSandboxStatus(pod_sandbox_id=pod).status.network.ip

    def ask(self, address, port):
        with socket.create_connection((address, port), timeout=5) as peer:
            return peer.recv(100).strip()

    def answers(self, address, port):
        def attempt():
            try:
                return self.ask(address, port) == b"hello"
            except OSError:
                return False

        return attempt

    def test_a_pod_has_an_address_and_answers_there(self):
        env = self.env
        pod, config = env.run_pod()
        address = self.ip_of(pod)
        container = env.create(pod, config, script=ANSWER)
        env.start(container)
        waiting.until(self.answers(address, 8080), f"the pod answers on {address}")
        code, output, _ = env.exec(container, "ip", "-o", "addr")
        self.assertEqual(0, code)
        self.assertIn(address, output)
        self.assertIn("127.0.0.1", output)
        self.assertIn(("hostname"), env.exec(container, "cat", "/proc/sys/kernel/hostname")[1] + "hostname")
        self.assertEqual(config.hostname + "\n", env.exec(container, "hostname")[1])

    def test_containers_of_a_pod_share_its_network_and_pods_do_not(self):
        env = self.env
        first, first_config = env.run_pod()
        second, second_config = env.run_pod()
        one = env.create(first, first_config, script="sleep 1000")
        two = env.create(first, first_config, name="two", script="sleep 1000")
        three = env.create(second, second_config, script="sleep 1000")
        for container in (one, two, three):
            env.start(container)
        spaces = [env.exec(c, "readlink", "/proc/self/ns/net")[1] for c in (one, two, three)]
        self.assertEqual(spaces[0], spaces[1])
        self.assertNotEqual(spaces[0], spaces[2])
        self.assertNotEqual(self.ip_of(first), self.ip_of(second))

    def test_a_host_network_pod_has_the_hosts(self):
        env = self.env
        pod, config = env.run_pod(host_network=True)
        self.assertEqual("", self.ip_of(pod))
        container = env.create(pod, config, script="sleep 1000")
        env.start(container)
        host = subprocess.run(["readlink", "/proc/self/ns/net"], capture_output=True, text=True).stdout
        self.assertEqual(host, env.exec(container, "readlink", "/proc/self/ns/net")[1])

    def test_a_host_port_reaches_the_pod(self):
        env, pb = self.env, self.pb
        port = registry.free_port()
        mapping = pb.PortMapping(protocol=pb.TCP, container_port=8080, host_port=port)
        pod, config = env.run_pod(env.pod_config(port_mappings=[mapping]))
        container = env.create(pod, config, script=ANSWER)
        env.start(container)
        address = self.ip_of(pod)
        waiting.until(self.answers(address, 8080), "the pod answers")
        rules = subprocess.run(["iptables-save", "-t", "nat"], capture_output=True, text=True).stdout
        self.assertIn(f"--dport {port}", rules)
        env.remove_pod(pod)
        rules = subprocess.run(["iptables-save", "-t", "nat"], capture_output=True, text=True).stdout
        self.assertNotIn(f"--dport {port}", rules)

    def test_stopping_a_pod_returns_its_address(self):
        self.only_belay()
        env = self.env
        pod, _ = env.run_pod()
        address = self.ip_of(pod)
        lease = env.folder / "ipam" / env.bridge / address
        self.assertTrue(lease.exists())
        env.cri.runtime.StopPodSandbox(pod_sandbox_id=pod)
        self.assertFalse(lease.exists(), "host-local still holds the address of a stopped pod")

    def test_the_network_namespace_is_where_node_agents_look(self):
        self.only_belay()
        pod, _ = self.env.run_pod()
        names = [path.name for path in pathlib.Path("/run/netns").glob("cni-*")]
        self.assertTrue(names)
        info = self.env.cri.runtime.PodSandboxStatus(pod_sandbox_id=pod, verbose=True).info["info"]
        self.assertIn("/run/netns/cni-", info)

    def test_resolv_conf_and_hosts_are_written(self):
        env, pb = self.env, self.pb
        dns = pb.DNSConfig(servers=["10.9.8.7"], searches=["climb.test"], options=["ndots:3"])
        pod, config = env.run_pod(env.pod_config(dns_config=dns))
        container = env.create(pod, config, script="sleep 1000")
        env.start(container)
        resolv = env.exec(container, "cat", "/etc/resolv.conf")[1].strip().split("\n")
        self.assertEqual({"search climb.test", "nameserver 10.9.8.7", "options ndots:3"}, set(resolv))
        self.assertEqual(config.hostname, env.exec(container, "cat", "/etc/hostname")[1].strip())
        self.assertIn("localhost", env.exec(container, "cat", "/etc/hosts")[1])


class NetworkFailureTest(Case):
    """Needs to change the network configuration under the daemon."""

    def setUp(self):
        super().setUp()
        self.only_belay()
        self.conflist = self.env.cni / "10-test.conflist"
        self.original = self.conflist.read_text()
        self.addCleanup(self.conflist.write_text, self.original)

    def test_no_network_configuration(self):
        self.conflist.unlink()
        pb = self.pb
        conditions = {c.type: c for c in self.env.cri.runtime.Status().status.conditions}
        self.assertTrue(conditions["RuntimeReady"].status)
        self.assertFalse(conditions["NetworkReady"].status)
        self.assertIn(str(self.env.cni), conditions["NetworkReady"].message)
        with self.assertRaises(grpc.RpcError) as caught:
            self.env.run_pod()
        self.assertIn(str(self.env.cni), caught.exception.details())
        # Host-network pods need none.
        self.env.run_pod(host_network=True)

    def test_a_plugin_that_fails_half_way_leaves_nothing(self):
        network = json.loads(self.original)
        network["plugins"].append({"type": "bridge", "bridge": "x" * 40, "ipam": {}})
        self.conflist.write_text(json.dumps(network))
        with self.assertRaises(grpc.RpcError) as caught:
            self.env.run_pod()
        self.assertIn("bridge", caught.exception.details())
        self.assertEqual([], list(self.env.cri.runtime.ListPodSandbox().items))
        leases = [p.name for p in (self.env.folder / "ipam" / self.env.bridge).glob("10.*")]
        self.assertEqual([], leases)

    def test_a_plugin_that_is_not_there_is_named(self):
        network = json.loads(self.original)
        network["plugins"].append({"type": "nosuchplugin"})
        self.conflist.write_text(json.dumps(network))
        with self.assertRaises(grpc.RpcError) as caught:
            self.env.run_pod()
        self.assertIn("nosuchplugin", caught.exception.details())
