"""What a pod is made of: init containers and sidecars, volumes, users, the host's network."""
from harness.kubelet_case import KubeletCase, exec_probe, statuses


def mounted(name, path, **fields):
    return {"name": name, "mountPath": path, **fields}


class PodTest(KubeletCase):
    def test_init_containers_run_one_by_one_and_a_sidecar_stays(self):
        shared = [mounted("notes", "/notes")]
        first = self.container("first", "echo first >> /notes/order", volumeMounts=shared)
        sidecar = self.container(
            "sidecar", "trap 'echo told to stop; exit 0' TERM; echo sidecar >> /notes/order; touch /tmp/up; "
            "sleep 1000000 & wait",
            restartPolicy="Always", volumeMounts=shared,
            startupProbe=exec_probe("test -e /tmp/up", failureThreshold=30),
        )
        last = self.container("last", "echo last >> /notes/order", volumeMounts=shared)
        main = self.container(
            script="trap 'echo told to stop; exit 0' TERM; cat /notes/order; sleep 1000000 & wait",
            volumeMounts=shared,
        )
        notes = {"name": "notes", "emptyDir": {}}
        self.run_pod("steps", main, initContainers=[first, sidecar, last], volumes=[notes])
        pod = self.wait_ready("steps")
        self.assertEqual(["first", "sidecar", "last"], self.log_lines(pod))
        states = statuses(pod)
        for name in ("first", "last"):
            ended = states[name]["state"]["terminated"]
            self.assertEqual((0, "Completed"), (ended["exitCode"], ended["reason"]), name)
        self.assertIn("running", states["sidecar"]["state"])
        self.assertTrue(states["sidecar"]["started"] and states["sidecar"]["ready"])

        # A sidecar serves the others to their end: it is told to stop after them.
        logs = [open(self.log_file(pod, name)) for name in ("main", "sidecar")]
        self.remove_pod("steps")
        ends = []
        for log in logs:
            with log:
                (line,) = [row for row in log if row.endswith("told to stop\n")]
                ends.append(line.split(" ", 1)[0])
        self.assertLess(ends[0], ends[1])

    def test_a_failing_init_container_holds_the_pod_back_until_it_succeeds(self):
        self.host_folder().joinpath("tries").write_text("")
        first = self.container(
            "first", "echo x >> /host/tries; test $(wc -l < /host/tries) = 2", volumeMounts=[mounted("host", "/host")]
        )
        self.run_pod("late", self.container(), initContainers=[first], volumes=[self.host_volume()])
        pod = self.wait_ready("late")
        state = statuses(pod)["first"]
        self.assertEqual(1, state["restartCount"])
        self.assertEqual(0, state["state"]["terminated"]["exitCode"])

    def host_folder(self):
        folder = self.env.folder / "host"
        folder.mkdir(exist_ok=True)
        return folder

    def host_volume(self):
        return {"name": "host", "hostPath": {"path": str(self.host_folder()), "type": "Directory"}}

    def test_volumes_are_shared_between_containers_and_with_the_host(self):
        host = self.host_folder()
        (host / "from-host").write_text("hello")
        volumes = [
            {"name": "disk", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}},
            self.host_volume(),
        ]
        mounts = [
            mounted("disk", "/disk"), mounted("memory", "/memory"), mounted("host", "/host"),
            mounted("disk", "/part", subPath="a/part"),
        ]
        writer = self.container(
            "writer",
            "for name in disk part memory; do echo $name > /$name/file; done; cat /host/from-host > /host/from-pod; "
            "sleep 1000000 & wait",
            volumeMounts=mounts,
        )
        read_only = [{**mounted("host", "/host"), "readOnly": True}, *mounts[:2]]
        reader = self.container(
            "reader",
            "until test -s /host/from-pod; do sleep 0.05; done; "
            "cat /disk/file /disk/a/part/file /memory/file /host/from-pod; echo; "
            "grep -q '^tmpfs /memory tmpfs' /proc/mounts && echo tmpfs; touch /host/no 2>&1 || echo refused; "
            "sleep 1000000 & wait",
            volumeMounts=read_only,
        )
        self.run_pod("volumes", writer, reader, volumes=volumes)
        pod = self.wait_ready("volumes")
        self.wait(lambda: "refused" in self.log_lines(pod, "reader"), "the reader is through")
        lines = self.log_lines(pod, "reader")
        self.assertEqual(["disk", "part", "memory", "hello", "tmpfs"], lines[:5])
        self.assertIn("Read-only file system", lines[5])
        self.assertEqual("hello", (host / "from-pod").read_text())
        self.assertFalse((host / "no").exists())

    def test_users_the_environment_and_the_hosts_file(self):
        main = self.container(
            script="id; echo $POD_IP; grep -c $(hostname) /etc/hosts; hostname; ls -ldn /disk; sleep 1000000 & wait",
            env=[{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            securityContext={"runAsUser": 1000, "runAsGroup": 3000, "allowPrivilegeEscalation": False},
            volumeMounts=[mounted("disk", "/disk")],
        )
        self.run_pod(
            "alice", main, securityContext={"fsGroup": 2000, "runAsNonRoot": True},
            volumes=[{"name": "disk", "emptyDir": {}}],
        )
        pod = self.wait_ready("alice")
        self.wait(lambda: len(self.log_lines(pod)) >= 5, "five lines of log")
        identity, address, hosts, hostname, folder = self.log_lines(pod)
        self.assertEqual("uid=1000(alice) gid=3000 groups=2000(climbers),3000", identity)
        self.assertEqual(pod["status"]["podIP"], address)
        self.assertEqual("1", hosts)
        self.assertEqual(pod["metadata"]["name"], hostname)
        self.assertEqual(["0", "2000"], folder.split()[2:4])
        user = statuses(pod)["main"]["user"]["linux"]
        self.assertEqual((1000, 3000, [2000, 3000]), (user["uid"], user["gid"], sorted(user["supplementalGroups"])))

    def test_containers_may_share_their_processes(self):
        other = self.container("other", "sleep 1234567 & wait")
        looks = "until ps | grep -q '[1]234567'; do sleep 0.05; done; echo seen; sleep 1000000 & wait"
        self.run_pod("shares", self.container(script=looks), other, shareProcessNamespace=True)
        pod = self.wait_ready("shares")
        self.wait(lambda: self.log_lines(pod) == ["seen"], "one container sees the other's process")

    def test_the_hosts_network_and_pids(self):
        self.run_pod(
            "host", self.container(script="ip -o link show; echo end; sleep 1000000 & wait"),
            hostNetwork=True, hostPID=True,
        )
        pod = self.wait_ready("host")
        self.wait(lambda: "end" in self.log_lines(pod), "the end of the log")
        self.assertTrue(any(f" {self.env.bridge}:" in line for line in self.log_lines(pod)))
