#!/usr/bin/python3
"""Faults: at each named step of each program it dies, fails or dawdles; the client repeats its calls until they
succeed, and then everything must be as if nothing had happened.

usage: test/faults/run.py --bin DIR [--all | --rounds N [--seed S]] [-k PATTERN]... [--list] [--verbose]
  without      one of kill, fail and delay at every failpoint
  --all        all three at every failpoint
  --rounds N   N schedules of up to three faults at random; --seed S begins with that one
  -k           only cells whose name holds PATTERN
  --verbose    also what the client met, where all ended well
Each cell ends with: no container killed that should live, no log line or exit code lost, nothing left behind.
"""
import argparse
import pathlib
import signal
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import cells  # noqa: E402
from harness.environment import missing_parts  # noqa: E402
from scenario import Scenario  # noqa: E402
from world import World  # noqa: E402


def schedules(programs, arguments):
    """(name, faults) of each cell."""
    if arguments.rounds:
        found = [(f"seed {seed}", cells.schedule(programs, seed))
                 for seed in range(arguments.seed, arguments.seed + arguments.rounds)]
    else:
        found = [("", [fault]) for fault in (cells.every if arguments.all else cells.sample)(programs)]
    named = [(" ".join([name, *map(str, faults)]).strip(), faults) for name, faults in found]
    return [cell for cell in named if all(pattern in cell[0] for pattern in arguments.patterns)]


class Suite:
    def __init__(self, world):
        self.world, self.env = world, world.env
        # What stays on purpose is there before the first look: the bridge, the image's layers.
        Scenario(world, [], "first").play()
        self.base, self.leases = self.env.baseline(), self.env.leases()
        self.base.daemon_pid = None
        content = self.env.daemon.root / "content"
        for folder in ("blobs/sha256", "layers", "ingest"):
            self.base.watch(content / folder)

    def cell(self, number, faults):
        scenario = Scenario(self.world, faults, number)
        try:
            scenario.play()
            self.world.survivor.check()
            self.base.processes.add(self.env.daemon.process.pid)
            self.base.check()
            assert self.env.leases() == self.leases, f"addresses still leased: {self.env.leases() - self.leases}"
            # Of several one may keep the others from being met, and a later pass may never come.
            must_be_met = len(faults) == 1 and faults[0].on_pass == 1
            assert not (must_be_met and scenario.unmet), f"never came to {scenario.unmet}"
            assert scenario.recreated == 0, "the pod was lost and had to be made again"
        except Exception as error:
            error.met = scenario.errors
            raise
        return scenario


def run(programs, arguments):
    """(passed, failed)."""
    passed, failed, world, suite = 0, 0, None, None
    for number, (name, faults) in enumerate(schedules(programs, arguments)):
        began = time.monotonic()
        try:
            if world is None:
                world = World(programs)
                suite = Suite(world)
            scenario = suite.cell(number, faults)
            passed += 1
            print(f"ok      {time.monotonic() - began:6.2f} s  {name}"
                  f"{'' if scenario.errors else '  (unnoticed)'}", flush=True)
            if arguments.verbose:
                print("".join(f"    {line}\n" for line in scenario.errors), end="", flush=True)
        except Exception as error:
            failed += 1
            print(f"FAILED  {time.monotonic() - began:6.2f} s  {name}\n{traceback.format_exc()}"
                  + "".join(f"    {line}\n" for line in getattr(error, "met", [])), flush=True)
            if world is None:
                break
            keep_logs(world, name)
            # What this one left must not be laid to the next one's charge.
            world.close()
            world = None
        except KeyboardInterrupt:
            print(f"stopped during {name}", flush=True)
            failed += 1
            break
    if world is not None:
        world.close()
    return passed, failed


def keep_logs(world, name):
    handle, kept = tempfile.mkstemp(prefix="belayd-faults-", suffix=".log")
    with open(handle, "wb") as copy:
        copy.write(world.env.daemon.log_path.read_bytes())
        for log in (world.env.daemon.state / "pods").glob("*/shim.log"):
            copy.write(f"--- {log}\n".encode() + log.read_bytes())
    print(f"belayd's log of {name} is kept in {kept}", flush=True)


def end(number, frame):
    """Told to stop: what runs is taken away first."""
    raise KeyboardInterrupt


def main():
    signal.signal(signal.SIGTERM, end)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, type=pathlib.Path)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-k", action="append", dest="patterns", default=[])
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(name for name, _ in schedules(arguments.bin, arguments)))
        return 0
    missing = missing_parts()
    if missing:
        print("SKIPPED  this machine lacks " + ", ".join(missing))
        print("0 passed, 0 failed, 1 skipped")
        return 0
    passed, failed = run(arguments.bin, arguments)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
