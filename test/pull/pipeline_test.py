#!/usr/bin/python3
"""belay-pull's pipeline modes as belayd starts them: what they make, and what they cannot reach.

usage: pipeline_test.py --bin BELAY_PULL --driver INGEST_DRIVER [unittest's arguments]
"""
import gzip
import hashlib
import os
import stat
import subprocess
import tarfile

import pull_case
from harness import waiting
from harness.registry import Layer

# linux/capability.h: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, MKNOD, SETFCAP
LAYER_CAPABILITIES = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 27 | 1 << 31


class PipelineCase(pull_case.PullCase):
    def setUp(self):
        super().setUp()
        self.staging = self.folder / "staging"
        self.staging.mkdir()
        self.processes = []
        self.addCleanup(self.stop_all)

    def stop_all(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()

    def spawn(self, arguments, descriptors):
        """Starts a mode with exactly the given {number: descriptor}, and one that should be closed."""
        def arrange():
            high = {number: os.dup2(source, 100 + number) for number, source in descriptors.items()}
            for number in range(3):
                if number not in descriptors and number != 2:
                    os.close(number)
            for number, source in high.items():
                os.dup2(source, number)
                os.close(source)
            os.dup2(2, 50)

        process = subprocess.Popen(
            [pull_case.BIN["belay-pull"], *arguments], preexec_fn=arrange, close_fds=False)
        self.processes.append(process)
        return process

    def pipe(self):
        ends = os.pipe()
        for end in ends:
            self.addCleanup(self.close, end)
        return ends

    def close(self, descriptor):
        try:
            os.close(descriptor)
        except OSError:
            pass

    def open(self, path, flags=os.O_RDONLY):
        descriptor = os.open(path, flags)
        self.addCleanup(self.close, descriptor)
        return descriptor

    def read_line(self, descriptor):
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read().decode()

    def unpack(self, blob, media_type=pull_case.LAYER_GZIP):
        """The whole pipeline; returns the three exit statuses and reports."""
        path = self.folder / "blob"
        path.write_bytes(blob)
        packed, unpacked = self.pipe(), self.pipe()
        reports = [self.pipe() for _ in range(3)]
        folder = self.open(self.staging, os.O_PATH | os.O_DIRECTORY)
        running = [
            self.spawn(["decompress", media_type], {0: self.open(path), 1: packed[1], 3: reports[0][1]}),
            self.spawn(["hash"], {0: packed[0], 1: unpacked[1], 3: reports[1][1]}),
            self.spawn(["unpack"], {0: unpacked[0], 3: folder, 4: reports[2][1]}),
        ]
        for descriptor in [*packed, *unpacked, *(write for _, write in reports)]:
            os.close(descriptor)
        statuses = [process.wait(timeout=60) for process in running]
        return statuses, [self.read_line(read) for read, _ in reports]


class Unpack(PipelineCase):
    def setUp(self):
        super().setUp()
        self.needRoot("give files to their owners")

    def test_fills_the_folder_and_reports(self):
        tar = (
            Layer().directory("etc").add("etc/passwd", b"root\n", 0o4711, uid=5, gid=6)
            .symlink("etc/link", "/etc/passwd").add(".wh.gone").add("etc/.wh..wh..opq")
            .add("etc/hard", kind=tarfile.LNKTYPE, link="etc/passwd").bytes()
        )
        statuses, reports = self.unpack(gzip.compress(tar))
        self.assertEqual(statuses, [0, 0, 0], reports)
        self.assertEqual(reports[0], "")
        self.assertEqual(reports[1], f"{hashlib.sha256(tar).hexdigest()} {len(tar)}\n")
        self.assertEqual(reports[2], "ok 6 5\n")
        status = os.stat(self.staging / "etc/passwd")
        self.assertEqual((stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid), (0o4711, 5, 6))
        self.assertEqual(status.st_mtime, 1700000000)
        self.assertEqual(status.st_nlink, 2)
        self.assertEqual(os.readlink(self.staging / "etc/link"), "/etc/passwd")
        gone = os.lstat(self.staging / "gone")
        self.assertTrue(stat.S_ISCHR(gone.st_mode))
        self.assertEqual(gone.st_rdev, 0)
        self.assertEqual(os.getxattr(self.staging / "etc", "user.overlay.opaque"), b"y")

    def test_agrees_with_gnu_tar(self):
        packed = subprocess.run(
            ["tar", "-cz", "-C", "/", "--one-file-system", "etc"], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, check=False,
        ).stdout
        statuses, reports = self.unpack(packed)
        self.assertEqual(statuses, [0, 0, 0], reports)
        other = self.folder / "other"
        other.mkdir()
        subprocess.run(["tar", "-xzp", "--same-owner", "-C", str(other)], input=packed, check=True)

        def listing(top):
            made = subprocess.run(
                ["find", ".", "-mindepth", "1", "-printf", "%P %y %m %U %G %s %T@ %l\n"], cwd=top,
                stdout=subprocess.PIPE, check=True,
            ).stdout.decode(errors="replace").split("\n")
            # The size of a folder is the file system's own affair.
            return sorted(" ".join(w for i, w in enumerate(line.split(" ")) if i != 5 or " d " not in line) for line in made)

        self.assertEqual(listing(self.staging), listing(other))
        subprocess.run(["diff", "-r", "--no-dereference", str(self.staging), str(other)], check=True)

    def test_nothing_escapes(self):
        outside = self.folder / "outside"
        outside.mkdir()
        (outside / "file").write_text("untouched")
        for name, layer in {
            "up": Layer().add("../outside/new", b"x"),
            "absolute": Layer().symlink("l", str(outside)).add("l/new", b"x"),
            "relative": Layer().symlink("l", "../outside").add("l/new", b"x"),
            "hard link": Layer().add("h", kind=tarfile.LNKTYPE, link=str(outside / "file")),
            "device": Layer().add("d", kind=tarfile.CHRTYPE),
        }.items():
            with self.subTest(name):
                statuses, reports = self.unpack(gzip.compress(layer.bytes()))
                self.assertEqual(statuses[2], 1, reports)
                self.assertTrue(reports[2].startswith("failed unpacking "), reports)
        statuses, reports = self.unpack(gzip.compress(
            Layer().symlink("file", str(outside / "file")).add("file", b"changed").bytes()))
        self.assertEqual(statuses, [0, 0, 0], reports)
        self.assertEqual(sorted(p.name for p in outside.iterdir()), ["file"])
        self.assertEqual((outside / "file").read_text(), "untouched")

    def test_a_truncated_blob(self):
        whole = gzip.compress(Layer().add("f", os.urandom(100_000)).bytes())
        statuses, reports = self.unpack(whole[: len(whole) // 2])
        self.assertEqual(statuses[0], 1)
        self.assertIn("gzip stream ends in the middle", reports[0])
        self.assertIn("failed unpacking f: the tar archive ends in the middle", reports[2])

    def test_an_unknown_media_type(self):
        statuses, reports = self.unpack(b"", "application/x-unknown")
        self.assertEqual(statuses[0], 1)
        self.assertIn("application/x-unknown", reports[0])

    def test_a_full_disk_is_named(self):
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(self.staging)], check=False).returncode:
            self.skipTest("cannot mount a tmpfs here")
        self.addCleanup(subprocess.run, ["umount", str(self.staging)], check=True)
        statuses, reports = self.unpack(gzip.compress(Layer().add("f", b"x" * 200_000).bytes()))
        self.assertEqual(statuses[2], 1)
        self.assertIn("No space left on device", reports[2])


class Hash(PipelineCase):
    def test_without_a_copy(self):
        path = self.folder / "blob"
        path.write_bytes(b"content" * 100_000)
        for one in ({}, {1: self.open("/dev/null", os.O_WRONLY)}):
            read, write = self.pipe()
            process = self.spawn(["hash"], {0: self.open(path), 3: write, **one})
            os.close(write)
            self.assertEqual(process.wait(timeout=20), 0)
            self.assertEqual(self.read_line(read), f"{hashlib.sha256(b'content' * 100_000).hexdigest()} 700000\n")

    def test_a_reader_that_goes_away(self):
        path = self.folder / "blob"
        path.write_bytes(b"x" * 3_000_000)
        copy, report = self.pipe(), self.pipe()
        process = self.spawn(["hash"], {0: self.open(path), 1: copy[1], 3: report[1]})
        for descriptor in (*copy, report[1]):
            os.close(descriptor)
        self.assertEqual(process.wait(timeout=20), 1)
        self.assertIn("Broken pipe", self.read_line(report[0]))


class Confinement(PipelineCase):
    """Looks at each mode while it waits for its first byte."""

    def setUp(self):
        super().setUp()
        self.needRoot("give its powers away")

    def waiting(self, arguments, descriptors):
        held = self.pipe()
        process = self.spawn(arguments, {0: held[0], **descriptors})
        waiting.until(lambda: self.status(process.pid)["Seccomp"] == "2", f"{arguments[0]} is confined")
        return process

    def descriptors(self, process):
        return sorted(map(int, os.listdir(f"/proc/{process.pid}/fd")))

    def test_hash_and_decompress(self):
        for arguments in (["hash"], ["decompress", pull_case.LAYER_GZIP]):
            process = self.waiting(arguments, {1: self.pipe()[1], 3: self.pipe()[1]})
            self.assertConfined(process.pid, 0)
            self.assertEqual(self.descriptors(process), [0, 1, 2, 3])

    def test_unpack(self):
        (self.staging / "mark").write_text("")
        folder = self.open(self.staging, os.O_PATH | os.O_DIRECTORY)
        process = self.waiting(["unpack"], {3: folder, 4: self.pipe()[1]})
        self.assertConfined(process.pid, LAYER_CAPABILITIES)
        # The folder's descriptor is gone; the lowest free number is the new root.
        self.assertEqual(self.descriptors(process), [0, 1, 2, 4])
        self.assertEqual(os.readlink(f"/proc/{process.pid}/fd/1"), "/")
        self.assertEqual(os.listdir(f"/proc/{process.pid}/root"), ["mark"])
        with open(f"/proc/{process.pid}/mountinfo", encoding="utf-8") as mounts:
            lines = mounts.read().splitlines()
        self.assertEqual(len(lines), 1, lines)
        for option in ("nosuid", "nodev", "noexec"):
            self.assertIn(option, lines[0].split()[5].split(","))
        for name in ("mnt", "net", "ipc", "uts", "cgroup"):
            self.assertNotEqual(
                os.readlink(f"/proc/{process.pid}/ns/{name}"), os.readlink(f"/proc/self/ns/{name}"), name)

    def test_the_hosts_mounts_stay_as_they_are(self):
        folder = self.open(self.staging, os.O_PATH | os.O_DIRECTORY)
        self.waiting(["unpack"], {3: folder, 4: self.pipe()[1]})
        with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
            self.assertNotIn(str(self.folder), mounts.read())
        self.assertTrue(os.path.isdir("/proc/self"))


if __name__ == "__main__":
    pull_case.main()
