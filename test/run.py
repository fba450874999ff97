#!/usr/bin/python3
"""Runs the integration tests of test/integration, or another folder's, and ends with their count.

usage: test/run.py [--bin DIR] [--suite kubelet] [--endpoint unix://PATH] [-k PATTERN]... [--list]
  --bin       the folder with belayd and the others (default: $BELAY_BIN)
  --suite     the folder: integration, or kubelet (BELAY_KUBELET names the program)
  --endpoint  run against this CRI runtime instead; what is about belay alone is skipped
  -k          only tests whose name holds PATTERN (as unittest's -k)
"""
import argparse
import os
import pathlib
import sys
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


class Result(unittest.TestResult):
    """A line per test as it ends, with its time; what failed is printed at once."""

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()
        self.passed = getattr(self, "passed", 0)
        self.bad = False

    def _line(self, test, word, text=""):
        seconds = time.monotonic() - getattr(self, "began", time.monotonic())
        print(f"{word:7} {seconds:6.2f} s  {test.id() if hasattr(test, 'id') else test}{text}", flush=True)

    def addSuccess(self, test):
        self.passed += 1
        self._line(test, "ok")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._line(test, "FAILED", "\n" + self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self._line(test, "FAILED", "\n" + self.errors[-1][1])

    def addSubTest(self, test, subtest, err):
        kept = len(self.failures), len(self.errors)
        super().addSubTest(test, subtest, err)
        for _, text in self.failures[kept[0]:] + self.errors[kept[1]:]:
            self._line(subtest, "FAILED", "\n" + text)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._line(test, "SKIPPED", f": {reason}")


def each(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from each(test)
        else:
            yield test


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin")
    parser.add_argument("--suite", choices=("integration", "kubelet"), default="integration")
    parser.add_argument("--endpoint")
    parser.add_argument("-k", action="append", dest="patterns", default=[])
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    if arguments.bin:
        os.environ["BELAY_BIN"] = arguments.bin
    if arguments.endpoint:
        os.environ["BELAY_ENDPOINT"] = arguments.endpoint

    loader = unittest.TestLoader()
    if arguments.patterns:
        loader.testNamePatterns = [p if "*" in p else f"*{p}*" for p in arguments.patterns]
    suite = loader.discover(str(HERE / arguments.suite), pattern="test_*.py")
    if arguments.list:
        for test in each(suite):
            print(test.id())
        return 0

    from harness import case, kubelet_case

    result = Result()
    try:
        suite.run(result)
    finally:
        kubelet_case.close_kubelet()
        case.close_environment()
    failed = len(result.failures) + len(result.errors)
    print(f"{getattr(result, 'passed', 0)} passed, {failed} failed, {len(result.skipped)} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
