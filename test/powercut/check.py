#!/usr/bin/python3
"""Cuts the power of the logged disk at many points, and looks each time whether a new daemon gets along.

usage: test/powercut/check.py --bin DIR --disk FILE --log FILE [--points N] [--only POINT...] [--seed N]
`--disk` is how the disk was before the log began. Of the writes that the drive had not been told to flush,
all stay at every second point, and at the others each by the toss of a coin. At every tenth point a pod is
run as well. Ends with a count of points.
"""
import argparse
import os
import pathlib
import random
import shutil
import sqlite3
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import journal  # noqa: E402
from disk_log import DiskLog, Replay  # noqa: E402
from harness import leaks, reboot, waiting  # noqa: E402
from harness.cri import messages  # noqa: E402
from node import IMAGES, MOUNT, Node, expected_layers, mount, reference, tree, unmount  # noqa: E402

POD_EVERY = 10


class Checker:
    def __init__(self, node):
        self.node = node
        self.expected = {name: expected_layers(image) for name, image in node.images.items()}

    @property
    def runtime(self):
        return self.node.cri.runtime

    def content(self, folder):
        return MOUNT / "belay/content" / folder

    def check(self, known, number):
        """Upon the mounted disk; returns a few words on what was found there."""
        node, pb = self.node, messages()
        began = time.monotonic()
        node.start_daemon()
        start = time.monotonic() - began
        self.check_database()
        pods = list(self.runtime.ListPodSandbox().items)
        assert all(pod.state == pb.SANDBOX_NOTREADY for pod in pods), f"a pod of before is ready: {pods}"
        containers = list(self.runtime.ListContainers().containers)
        assert all(each.state == pb.CONTAINER_EXITED for each in containers), f"one lives: {containers}"
        images = self.check_images(known)
        again = next((name for name, what in known.items() if what == "pulling"), reference(1 + number % IMAGES))
        node.pull(again)
        assert again in self.names(), f"{again} was pulled and is not listed"
        self.check_layers(again)
        if number % POD_EVERY == 0:
            self.run_a_pod(again)
        self.remove_all()
        return (f"served after {start:.1f} s; {len(pods)} pods, {len(containers)} containers, {len(images)} images, "
                f"{again} was {known.get(again, 'never here')}")

    def check_database(self):
        path = f"file:{MOUNT}/belay/belay.db?mode=ro"
        with sqlite3.connect(path, uri=True) as database:
            verdict = database.execute("PRAGMA integrity_check").fetchall()
        database.close()
        assert verdict == [("ok",)], verdict

    def names(self):
        return {tag for image in self.node.cri.image.ListImages().images for tag in image.repo_tags}

    def check_images(self, known):
        """All that were answered for are listed, and all that are listed are whole."""
        names = self.names()
        for name, what in known.items():
            assert what != "here" or name in names, f"{name} was pulled before the cut, and is not there"
        for name in names:
            self.check_layers(name)
        return names

    def check_layers(self, name):
        for chain, files in self.expected[name].items():
            found = tree(self.content("layers") / chain.removeprefix("sha256:") / "fs")
            wrong = {path for path in files.keys() | found.keys() if files.get(path) != found.get(path)}
            assert not wrong, f"{name}: layer {chain} has other content at {sorted(wrong)[:5]}"

    def run_a_pod(self, image):
        pod, config = self.node.run_pod()
        spec = self.node.container_config(script="exit 7")
        spec.image.image = image
        container = self.node.create(pod, config, spec)
        self.node.start(container)
        assert self.node.wait_exited(container).exit_code == 7

    def remove_all(self):
        self.node.remove_everything()
        for image in self.node.cri.image.ListImages().images:
            self.node.cri.image.RemoveImage(image={"image": image.id})
        waiting.until(lambda: not self.leftovers(), "nothing is left", seconds=20)

    def leftovers(self):
        root, state = MOUNT / "belay", self.node.daemon.state
        folders = [self.content(name) for name in ("blobs/sha256", "layers", "ingest", "staging", "trash")]
        folders += [root / "overlay/snapshots", root / "overlay/trash", root / "attachments", state / "pods"]
        rows = sorted(leaks.entries(folders))
        rows += [f"address {name}" for name in self.node.leases()]
        rows += [f"netns {name}" for name in leaks.network_namespaces() if name.startswith("cni-")]
        rows += [f"shim {pid}" for pid in self.node.daemon.shims()]
        return rows

    def describe(self):
        """Where a failed point stands."""
        if not self.node.daemon:
            return ""
        log = self.node.daemon.log_path.read_text(errors="replace").splitlines()
        return "\n".join(["left: " + row for row in self.leftovers()[:20]] + log)

    def end(self):
        """Whatever became of it: the next point begins afresh."""
        if self.node.daemon:
            reboot.end_all(self.node.daemon)
            shutil.rmtree(self.node.daemon.folder)
            self.node.daemon = None


def choose_points(log, count, toss):
    """Spread over all writes, from belayd's first start on an empty disk."""
    total = len(log.entries)
    assert total > count, f"only {total} writes and flushes"
    return [int((place + toss.random()) * total / count) for place in range(count)]


def run(arguments, folder):
    log = DiskLog(arguments.log)
    flushes = sum(entry.is_flush for entry in log.entries)
    print(f"{len(log.entries) - flushes} writes, {flushes} flushes; seed {arguments.seed}", flush=True)
    replay = Replay(log, arguments.disk, folder / "durable")
    checker = Checker(Node(pathlib.Path(arguments.bin), folder))
    passed = failed = 0
    for number, point in enumerate(choose_points(log, arguments.points, random.Random(arguments.seed))):
        if arguments.only and number not in arguments.only:
            continue
        began = time.monotonic()
        toss = random.Random(f"{arguments.seed} {number}")
        pending, kept = replay.cut(
            point, (lambda: True) if number % 2 else (lambda: toss.random() < 0.5), folder / "disk"
        )
        mount(str(folder / "disk"), "-o", "loop")
        words = f"point {number}, entry {point}, {kept} of {pending} writes kept"
        try:
            found = checker.check(journal.known_at(log, point), number)
            passed += 1
            print(f"ok      {time.monotonic() - began:5.1f} s  {words}: {found}", flush=True)
        except Exception as error:  # pylint: disable=broad-except  # of whatever kind: the point has failed
            failed += 1
            print(f"FAILED  {words}: {error!r}\n{checker.describe()}", flush=True)
        finally:
            checker.end()
            unmount()
    checker.node.registry.stop()
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--disk", required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--only", type=int, nargs="+")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="belay-powercut-", dir="/dev/shm") as folder:
        passed, failed = run(arguments, pathlib.Path(folder))
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
