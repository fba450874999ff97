#!/usr/bin/python3
"""Pods start and end and images come and go on a disk whose every write is logged.

usage: test/powercut/workload.py --bin DIR --device /dev/vda [--seconds N]
Ends at once and without any care for what runs: the machine is switched off then.
"""
import argparse
import itertools
import os
import pathlib
import sys
import tempfile
import threading
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from journal import Journal  # noqa: E402
from node import IMAGES, Node, mount, reference  # noqa: E402

# At a time: images that come and go, and pods of each worker.
IMAGES_KEPT, PODS_KEPT, POD_WORKERS = 3, 2, 2


class Workload:
    def __init__(self, node, journal, seconds):
        self.node, self.journal, self.end = node, journal, time.monotonic() + seconds
        self.done = {"pulls": 0, "pods": 0}
        self.failures = []

    def pull(self, name):
        self.journal.write(name, "pulling")
        self.node.pull(name)
        self.journal.write(name, "here")
        self.done["pulls"] += 1

    def images(self):
        for number in itertools.count():
            if time.monotonic() > self.end:
                return
            if number >= IMAGES_KEPT:
                old = reference(1 + (number - IMAGES_KEPT) % IMAGES)
                self.journal.write(old, "removing")
                self.node.cri.image.RemoveImage(image={"image": old})
            self.pull(reference(1 + number % IMAGES))

    def pods(self):
        pods = []
        while time.monotonic() < self.end:
            pod, config = self.node.run_pod()
            pods.append(pod)
            for name, script in (("stays", "sleep 1000"), ("writes", "echo here >/file; echo done")):
                container = self.node.create(pod, config, name=name, script=script)
                self.node.start(container)
            if len(pods) > PODS_KEPT:
                self.node.remove_pod(pods.pop(0))
            self.done["pods"] += 1

    def run(self):
        self.pull(reference(0))
        threads = [threading.Thread(target=self._guarded, args=(each,), daemon=True)
                   for each in [self.images] + [self.pods] * POD_WORKERS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _guarded(self, work):
        try:
            work()
        except BaseException:  # pylint: disable=broad-except  # told by main, whatever it is
            self.failures.append(traceback.format_exc())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--seconds", type=int, default=90)
    arguments = parser.parse_args()
    mount(arguments.device)
    node = Node(pathlib.Path(arguments.bin), pathlib.Path(tempfile.mkdtemp(prefix="belay-powercut-")))
    node.start_daemon()
    workload = Workload(node, Journal(arguments.device), arguments.seconds)
    workload.run()
    print(f"{workload.done['pulls']} pulls, {workload.done['pods']} pods", flush=True)
    for failure in workload.failures:
        print(failure, flush=True)
    # Nothing is ended, synced or unmounted.
    os._exit(1 if workload.failures else 0)


if __name__ == "__main__":
    main()
