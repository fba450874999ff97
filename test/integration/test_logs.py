"""The CRI log format, long lines, rotation."""
import datetime
import os
import pathlib

import grpc

from harness import waiting
from harness.case import Case


class LogTest(Case):
    def run_script(self, script, **fields):
        pod, config = self.env.run_pod(host_network=True)
        container = self.env.create(pod, config, script=script, **fields)
        self.env.start(container)
        return container, config

    def test_each_line_has_a_time_a_stream_and_a_tag(self):
        container, config = self.run_script("echo one; printf 'no newline'")
        self.env.wait_exited(container)
        path = pathlib.Path(config.log_directory) / "main/0.log"
        waiting.until(lambda: len(path.read_text().splitlines()) == 2, "two records")
        first, second = path.read_text().splitlines()
        stamp = first.split(" ")[0]
        parsed = datetime.datetime.fromisoformat(stamp[:26] + "+00:00")
        self.assertLess(abs((datetime.datetime.now(datetime.timezone.utc) - parsed).total_seconds()), 60)
        self.assertEqual("stdout F one", first.split(" ", 1)[1])
        self.assertEqual("stdout P no newline", second.split(" ", 1)[1])

    def test_long_lines_are_split_and_nothing_is_lost(self):
        container, config = self.run_script(
            "head -c 100000 /dev/zero | tr '\\0' 'x'; echo; echo end"
        )
        self.env.wait_exited(container)
        waiting.until(lambda: ("stdout", "F", "end") in self.env.log_lines(config), "the last line")
        rows = self.env.log_lines(config)[:-1]
        self.assertEqual("x" * 100000, "".join(text for _, _, text in rows))
        self.assertEqual(["P"] * (len(rows) - 1) + ["F"], [tag for _, tag, _ in rows])
        self.assertTrue(all(len(text) <= 16384 for _, _, text in rows))

    def test_a_great_deal_of_output_arrives_in_order(self):
        container, config = self.run_script("seq 1 200000")
        self.env.wait_exited(container, 60)
        waiting.until(lambda: len(self.env.log_lines(config)) == 200000, "all lines")
        self.assertConsecutive([int(text) - 1 for _, _, text in self.env.log_lines(config)])

    def test_rotation_loses_no_line(self):
        container, config = self.run_script("i=0; while :; do echo $i; i=$((i+1)); done & sleep 1000")
        folder = pathlib.Path(config.log_directory) / "main"
        waiting.until(lambda: len(self.env.log_lines(config)) > 100, "some lines")
        for rotation in range(3):
            os.rename(folder / "0.log", folder / f"0.log.{rotation}")
            self.env.cri.runtime.ReopenContainerLog(container_id=container)
            waiting.until(lambda: len(self.env.log_lines(config)) > 100, "lines in the new file")
        self.env.cri.runtime.StopContainer(container_id=container, timeout=0)
        text = ""
        for name in ("0.log.0", "0.log.1", "0.log.2", "0.log"):
            for row in (folder / name).read_text().splitlines():
                _, _, tag, content = row.split(" ", 3)
                text += content + ("\n" if tag == "F" else "")
        self.assertConsecutive([int(line) for line in text.splitlines()[:-1]])

    def test_reopening_needs_a_running_container(self):
        container, config = self.run_script("true")
        self.env.wait_exited(container)
        with self.assertCode(grpc.StatusCode.FAILED_PRECONDITION, container[:12]):
            self.env.cri.runtime.ReopenContainerLog(container_id=container)

    def test_without_a_log_path_output_is_dropped_and_nothing_blocks(self):
        pod, config = self.env.run_pod(host_network=True)
        spec = self.env.container_config(script="head -c 3000000 /dev/zero; exit 4")
        spec.log_path = ""
        container = self.env.create(pod, config, spec)
        self.env.start(container)
        self.assertEqual(4, self.env.wait_exited(container).exit_code)
        self.assertEqual("", self.env.status(container).log_path)
