"""What the world outside knows at every moment: which images were answered for. It lies on the disk behind
the file system, so that the log of the disk's writes tells what was known when the power went."""
import json
import mmap
import os
import threading

from node import DISK_BYTES, JOURNAL_BYTES

OFFSET = DISK_BYTES - JOURNAL_BYTES


class Journal:
    def __init__(self, device):
        # Past the page cache, and without a flush, which would make the runtime's writes durable.
        self.disk = os.open(device, os.O_WRONLY | os.O_DIRECT)
        self.buffer = mmap.mmap(-1, JOURNAL_BYTES)
        self.lock = threading.Lock()
        self.images = {}

    def write(self, reference, what):
        """`what`: "pulling", "here" or "removing"."""
        with self.lock:
            self.images[reference] = what
            text = json.dumps(self.images).encode()
            assert len(text) < JOURNAL_BYTES
            self.buffer[:] = text.ljust(JOURNAL_BYTES)
            assert os.pwrite(self.disk, self.buffer, OFFSET) == JOURNAL_BYTES


def known_at(log, point):
    """{reference: what} before entry `point` of the disk's log."""
    for entry in reversed(log.entries[:point]):
        if entry.offset == OFFSET and not entry.is_flush:
            return json.loads(log.bytes(entry))
    return {}
