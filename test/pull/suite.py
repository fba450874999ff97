#!/usr/bin/python3
"""Runs all tests of belay-pull and ends with their count.

usage: test/pull/suite.py --bin BAZEL_BIN [-k PATTERN]...
  --bin  the folder with snapshot/pull/belay-pull and test/pull/ingest-driver in it
  -k     only tests whose name holds PATTERN (as unittest's -k)
"""
import argparse
import importlib.util
import sys
import unittest

import pull_case


def integration_result():
    """The result class of test/run.py, which prints a line for each test."""
    spec = importlib.util.spec_from_file_location("integration_run", pull_case.HERE.parent / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Result()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("-k", action="append", dest="patterns", default=[])
    arguments = parser.parse_args()
    pull_case.set_programs(f"{arguments.bin}/snapshot/pull/belay-pull", f"{arguments.bin}/test/pull/ingest-driver")

    loader = unittest.TestLoader()
    if arguments.patterns:
        loader.testNamePatterns = [p if "*" in p else f"*{p}*" for p in arguments.patterns]
    suite = loader.loadTestsFromNames(["fetch_test", "import_test", "pipeline_test"])
    result = integration_result()
    suite.run(result)
    failed = len(result.failures) + len(result.errors)
    print(f"{getattr(result, 'passed', 0)} passed, {failed} failed, {len(result.skipped)} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
