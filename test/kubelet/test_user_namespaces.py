"""Pods that ask for a user namespace of their own (hostUsers: false)."""
import os

from harness.kubelet_case import KubeletCase, exec_probe


class UserNamespaceTest(KubeletCase):
    def test_the_kubelets_volumes_are_the_pods(self):
        host = self.env.folder / "host-of-userns"
        host.mkdir()
        (host / "from-host").write_text("hello")
        mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("disk", "memory", "host", "facts")]
        main = self.container(
            script="cat /proc/self/uid_map; echo x > /disk/new && echo x > /memory/new && cat /host/from-host; echo;"
            "stat -c '%u %n' /disk/new /memory/new /host/from-host /facts/name /etc/hosts; cat /facts/name; echo;"
            "echo 127.0.0.1 more >> /etc/hosts && echo written; sleep 1000000 & wait",
            volumeMounts=mounts, readinessProbe=exec_probe("test $(id -u) = 0 && test -e /disk/new"),
        )
        fact = {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}
        self.run_pod(
            "mapped", main, hostUsers=False,
            volumes=[
                {"name": "disk", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory"}},
                {"name": "host", "hostPath": {"path": str(host), "type": "Directory"}},
                {"name": "facts", "downwardAPI": {"items": [fact]}},
            ],
        )
        pod = self.wait_ready("mapped")
        self.wait(lambda: "written" in self.log_lines(pod), "the container is through")
        lines = self.log_lines(pod)
        first, host_id, count = lines[0].split()
        self.assertEqual(("0", 0), (first, int(count) % 65536))
        self.assertGreaterEqual(int(host_id), 65536)
        self.assertEqual("hello", lines[1])
        places = ["/disk/new", "/memory/new", "/host/from-host", "/facts/name", "/etc/hosts"]
        self.assertEqual([f"0 {place}" for place in places], lines[2:7])
        self.assertTrue(lines[7].startswith("mapped"), lines[7])
        # On disk they are the host's root's, as in any other pod: the mounts alone are mapped.
        disk = self.kubelet.folder / "root/pods" / pod["metadata"]["uid"] / "volumes/kubernetes.io~empty-dir/disk/new"
        self.assertEqual(0, os.stat(disk).st_uid)

    def test_two_pods_have_different_ids(self):
        ids = []
        for name in ("one", "two"):
            self.run_pod(name, self.container(script="cat /proc/self/uid_map; sleep 1000000 & wait"), hostUsers=False)
        for name in ("one", "two"):
            pod = self.wait_ready(name)
            self.wait(lambda: self.log_lines(pod), "a line of log")
            ids.append(self.log_lines(pod)[0].split()[1])
        self.assertNotEqual(*ids)
