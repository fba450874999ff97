"""How long belayd takes from exec to its first answers on a node full of pods; prints JSON lines of milliseconds.

usage: startup.py --bin DIR [--pods N] [--rounds N]

Clients connect while no belayd runs, to a socket that is given to it, so that none of their own time counts:
belayd is killed, started, and answers Version and ListContainers.
"""
import argparse
import json
import os
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness import waiting
from harness.cri import Cri
from harness.daemon import find_programs
from harness.environment import Environment
from harness.service_manager import ServiceManager, listening_unix, waiting_connections


def fill(environment, pods):
    environment.pull()
    for _ in range(pods):
        pod, config = environment.run_pod()
        environment.start(environment.create(pod, config, script="sleep 100000"))


def one_round(daemon):
    """Milliseconds from exec to the answer of each call, and belayd's own CPU time."""
    daemon.kill()
    clients = [Cri(daemon.endpoint, eager=False) for _ in range(2)]
    ends = {}
    version = clients[0].runtime.Version.future()
    containers = clients[1].runtime.ListContainers.future()
    for name, call in (("Version", version), ("ListContainers", containers)):
        call.add_done_callback(lambda _, name=name: ends.setdefault(name, time.monotonic_ns()))
    waiting.until(lambda: waiting_connections(daemon.socket) == 2, "both clients wait")
    daemon.start()
    count = len(containers.result().containers)
    version.result()
    began = daemon.manager.executed_at()
    waiting.until(lambda: len(ends) == 2, "both answers are timed")
    for client in clients:
        client.close()
    times = {name: (end - began) / 1e6 for name, end in ends.items()}
    # Its one thread's, up to about now: what a machine that does nothing else would take, and what others took.
    on_cpu, waited, _ = pathlib.Path(f"/proc/{daemon.process.pid}/schedstat").read_text().split()
    return count, dict(times, on_cpu=int(on_cpu) / 1e6, waiting_for_cpu=int(waited) / 1e6)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin")
    parser.add_argument("--pods", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()

    environment = Environment(find_programs(arguments.bin))
    daemon = environment.daemon
    try:
        daemon.stop()
        daemon.manager = ServiceManager(daemon.folder, {"cri": listening_unix(str(daemon.socket))})
        daemon.start()
        fill(environment, arguments.pods)
        times = {}
        for _ in range(arguments.rounds):
            count, one = one_round(daemon)
            if count != arguments.pods:
                raise SystemExit(f"{count} containers of {arguments.pods} are known after the start")
            for name, milliseconds in one.items():
                times.setdefault(name, []).append(milliseconds)
        for name, all_of in times.items():
            row = {"what": name, "pods": arguments.pods, "rounds": len(all_of), "min_ms": round(min(all_of), 1),
                   "median_ms": round(statistics.median(all_of), 1), "max_ms": round(max(all_of), 1)}
            print(json.dumps(row), flush=True)
    finally:
        manager = daemon.manager
        if manager:
            # What it keeps lies in the environment's folder.
            environment.remove_everything()
            manager.close()
        environment.close()


if __name__ == "__main__":
    main()
