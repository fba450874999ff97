#!/usr/bin/python3
"""Times the bytes of an exec and of a port-forward, on belay and on containerd by turns.

usage: test/bench/streams.py --crictl PROGRAM --bin DIR [--peer-bin DIR] [--rounds N] [--mib N]
  --crictl    the client, which is the same for both
  --bin       belay's programs
  --peer-bin  containerd, containerd-shim-runc-v2 and runc; without it belay runs alone
  --mib       how much goes through each stream (default 256)

By SPDY, which both speak. Three figures: exec's standard output, exec's input and output through cat, and
a port-forward from a server in the pod. They take turns stream by stream, so that a noisy machine hurts both alike.
Quote medians and ratios.
"""
import argparse
import collections
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cri import messages  # noqa: E402
from harness.environment import Environment, busybox_layer  # noqa: E402

KINDS = ["exec stdout", "exec stdin to stdout", "port-forward"]
PIECE = 1 << 20


class Subject:
    """One runtime, with a pod on the host's network to stream with."""

    def __init__(self, name, endpoint, cri, env, arguments):
        self.name, self.cri, self.size = name, cri, arguments.mib << 20
        self.crictl = [arguments.crictl, "--config", "/dev/null", "--runtime-endpoint", endpoint]
        self.rates = collections.defaultdict(list)
        pb = messages()
        cri.image.PullImage(image=pb.ImageSpec(image=env.image))
        config = env.pod_config(host_network=True)
        config.linux.cgroup_parent += name
        spec = env.container_config(script="exec sleep 100000")
        spec.linux.security_context.namespace_options.network = pb.NamespaceMode.Value("NODE")
        os.makedirs(os.path.join(config.log_directory, "main"), exist_ok=True)
        self.pod = cri.runtime.RunPodSandbox(config=config).pod_sandbox_id
        self.container = cri.runtime.CreateContainer(
            pod_sandbox_id=self.pod, config=spec, sandbox_config=config).container_id
        cri.runtime.StartContainer(container_id=self.container)

    def close(self):
        self.cri.runtime.StopPodSandbox(pod_sandbox_id=self.pod)
        self.cri.runtime.RemovePodSandbox(pod_sandbox_id=self.pod)

    def exec_stdout(self):
        return self.drain(
            [*self.crictl, "exec", self.container, "dd", "if=/dev/zero", "bs=64k", f"count={self.size >> 16}"], None)

    def exec_both(self):
        return self.drain([*self.crictl, "exec", "-i", self.container, "cat"], self.size)

    def drain(self, command, feed):
        process = subprocess.Popen(command, stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if feed:
            threading.Thread(target=self.feed, args=(process.stdin, feed)).start()
        first = os.read(process.stdout.fileno(), PIECE)
        began, received = time.perf_counter(), len(first)
        while piece := os.read(process.stdout.fileno(), PIECE):
            received += len(piece)
        elapsed = time.perf_counter() - began
        process.stdout.close()
        assert process.wait() == 0 and received == self.size, (process.returncode, received)
        return elapsed

    @staticmethod
    def feed(stream, size):
        piece = bytes(PIECE)
        for _ in range(size // PIECE):
            stream.write(piece)
        stream.close()

    def port_forward(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=self.serve, args=(listener,)).start()
            port = listener.getsockname()[1]
            process = subprocess.Popen([*self.crictl, "port-forward", self.pod, f"0:{port}"], stdout=subprocess.PIPE)
            try:
                line = process.stdout.readline().decode()
                here = int(re.search(r"127\.0\.0\.1:(\d+)", line).group(1))
                with socket.create_connection(("127.0.0.1", here)) as client:
                    received = len(client.recv(PIECE))
                    began = time.perf_counter()
                    while piece := client.recv(PIECE):
                        received += len(piece)
                    elapsed = time.perf_counter() - began
                assert received == self.size, received
                return elapsed
            finally:
                process.kill()
                process.wait()
                process.stdout.close()

    def serve(self, listener):
        connection, _ = listener.accept()
        with connection:
            self.feed_socket(connection)

    def feed_socket(self, connection):
        piece = bytes(PIECE)
        for _ in range(self.size // PIECE):
            connection.sendall(piece)

    def run(self, kind):
        call = {"exec stdout": self.exec_stdout, "exec stdin to stdout": self.exec_both,
                "port-forward": self.port_forward}[kind]
        self.rates[kind].append((self.size >> 20) / call())


def report(subjects):
    print(f"{'MiB/s':22}" + "".join(f"{s.name + ' p50':>16}{'lowest':>9}" for s in subjects) + f"{'ratio':>9}")
    for kind in KINDS:
        row, medians = f"{kind:22}", []
        for subject in subjects:
            rates = subject.rates[kind]
            medians.append(statistics.median(rates))
            row += f"{medians[-1]:16.0f}{min(rates):9.0f}"
        if len(medians) == 2:
            row += f"{medians[0] / medians[1]:9.2f}"
        print(row)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crictl", required=True)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--peer-bin")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--mib", type=int, default=256)
    arguments = parser.parse_args()

    env = Environment(pathlib.Path(arguments.bin))
    peer, subjects = None, []
    try:
        subjects.append(Subject("belay", env.daemon.endpoint, env.cri, env, arguments))
        if arguments.peer_bin:
            from harness.peer import Containerd

            peer = Containerd(arguments.peer_bin, env.folder / "containerd", env.registry, env.folder / "certs.d",
                              env.cni, busybox_layer())
            subjects.append(Subject("containerd", peer.endpoint, peer.cri, env, arguments))
        for kind in KINDS:
            for subject in subjects:
                subject.run(kind)
        for subject in subjects:
            subject.rates.clear()
        for _ in range(arguments.rounds):
            for kind in KINDS:
                for subject in subjects:
                    subject.run(kind)
        print(f"{arguments.rounds} streams of {arguments.mib} MiB each, by turns")
        report(subjects)
    finally:
        for subject in subjects:
            subject.close()
        if peer:
            peer.stop()
        env.close()


if __name__ == "__main__":
    main()
