#!/usr/bin/env python3
"""A sparse copy of an image, written page by page and synced, for the runs that count written bytes.

usage: pagewise.py IMAGE COPY

The kernel counts a page that is made dirty with all of its folio, and a copy by large writes lies in the page cache in
large folios: a write of 4 KiB would count as up to 64 KiB, in every program alike. Written in pages, it lies in pages.
"""

import errno
import os
import sys

PAGE = 4096


def copy(source, target):
    offset, end = 0, os.fstat(source).st_size
    os.ftruncate(target, end)
    while offset < end:
        try:
            start = os.lseek(source, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            raise
        offset = os.lseek(source, start, os.SEEK_HOLE)
        for at in range(start, offset, PAGE):
            os.pwrite(target, os.pread(source, PAGE, at), at)
    os.fsync(target)


if __name__ == "__main__":
    image = os.open(sys.argv[1], os.O_RDONLY)
    if os.path.exists(sys.argv[2]):
        os.unlink(sys.argv[2])
    copy(image, os.open(sys.argv[2], os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644))
