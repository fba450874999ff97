"""Every write and flush of a disk, as QEMU's blklogwrites writes them down (the format of Linux's
dm-log-writes), and the disks that a power cut could have left.

A drive may keep writes in a cache until it is told to flush, and lose any of those when the power goes:
after a cut all writes up to the last flush are there, and of those since then some.
"""
import os
import struct
from typing import NamedTuple

MAGIC = 0x6A736677736872
FLUSH, DISCARD = 1, 4
BLOCK = 1 << 18


class Entry(NamedTuple):
    offset: int  # on the disk, in bytes
    length: int  # of what was written; 0 for a flush
    data: int  # where in the log it is

    @property
    def is_flush(self):
        return self.length == 0


class DiskLog:
    """The entries in their order."""

    def __init__(self, path):
        self.file = os.open(path, os.O_RDONLY)
        magic, _, _, self.sector = struct.unpack("<QQQI", os.pread(self.file, 28, 0))
        assert magic == MAGIC, f"{path} is no log of a disk's writes"
        self.entries = list(self._read())

    def _read(self):
        position, end = self.sector, os.fstat(self.file).st_size
        while position + 32 <= end:
            sector, count, flags, _ = struct.unpack("<QQQQ", os.pread(self.file, 32, position))
            if not count and not flags & FLUSH:
                return  # behind the last one
            position += self.sector
            length = count * self.sector
            if flags & DISCARD:
                continue
            if length:
                yield Entry(sector * self.sector, length, position)
            if flags & FLUSH:
                yield Entry(0, 0, 0)
            position += length

    def bytes(self, entry):
        return os.pread(self.file, entry.length, entry.data)

    def apply(self, entry, disk):
        """The write onto `disk`, a descriptor."""
        data = self.bytes(entry)
        assert os.pwrite(disk, data, entry.offset) == len(data) == entry.length


class Replay:
    """The disk while points move forward through the log: `durable`, made from how it was at first, has
    all that was flushed."""

    def __init__(self, log, first, durable):
        self.log, self.done = log, 0
        source = os.open(first, os.O_RDONLY)
        _copy(source, durable)
        os.close(source)
        self.disk = os.open(durable, os.O_RDWR)

    def cut(self, point, keeps, onto):
        """Makes `onto` a disk that lost its power before entry `point`. Of the writes that were not
        flushed those stay for which `keeps()` says so. Returns how many there were, and how many stay."""
        flush = max((place for place in range(self.done, point) if self.log.entries[place].is_flush), default=self.done)
        for place in range(self.done, flush):
            if not self.log.entries[place].is_flush:
                self.log.apply(self.log.entries[place], self.disk)
        self.done = flush
        _copy(self.disk, onto)
        pending = [entry for entry in self.log.entries[flush:point] if not entry.is_flush]
        kept = [entry for entry in pending if keeps()]
        disk = os.open(onto, os.O_WRONLY)
        for entry in kept:
            self.log.apply(entry, disk)
        os.close(disk)
        return len(pending), len(kept)


def _copy(source, onto):
    """A copy that has holes where the source has, or has nothing but zeros."""
    size = os.fstat(source).st_size
    target = os.open(onto, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.ftruncate(target, size)
    end = 0
    while True:
        try:
            begin = os.lseek(source, end, os.SEEK_DATA)
        except OSError:  # ENXIO: none behind
            break
        end = os.lseek(source, begin, os.SEEK_HOLE)
        for at in range(begin, end, BLOCK):
            data = os.pread(source, min(BLOCK, end - at), at)
            if data.strip(b"\0"):
                os.pwrite(target, data, at)
    os.close(target)
