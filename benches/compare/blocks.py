#!/usr/bin/env python3
"""How many blocks of 4 KiB differ between two images, where cmp would read a terabyte of holes.

usage: blocks.py BEFORE AFTER [LOG]

LOG is a file with the numbers of blocks that do not count, with blanks or newlines between them: what an edit leaves in the
log is not what had to change.
"""

import errno
import os
import sys

BLOCK = 4096
CHUNK = 256 * BLOCK


def data(file):
    """The numbers of the chunks in which `file` has data."""
    chunks, offset, end = set(), 0, os.fstat(file).st_size
    while offset < end:
        try:
            start = os.lseek(file, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            raise
        offset = os.lseek(file, start, os.SEEK_HOLE)
        chunks.update(range(start // CHUNK, (offset + CHUNK - 1) // CHUNK))
    return chunks


def differing(before, after):
    """The numbers of the blocks that differ."""
    for chunk in sorted(data(before) | data(after)):
        old, new = (os.pread(file, CHUNK, chunk * CHUNK) for file in (before, after))
        if old != new:
            for at in range(0, CHUNK, BLOCK):
                if old[at : at + BLOCK] != new[at : at + BLOCK]:
                    yield (chunk * CHUNK + at) // BLOCK


def main():
    before, after = (os.open(name, os.O_RDONLY) for name in sys.argv[1:3])
    log = set()
    if len(sys.argv) > 3:
        with open(sys.argv[3], encoding="ascii") as numbers:
            log.update(int(number) for number in numbers.read().split())
    print(sum(block not in log for block in differing(before, after)))


if __name__ == "__main__":
    main()
