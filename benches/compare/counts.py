#!/usr/bin/env python3
"""Does GNU time count what a process writes, by calls and through a map? Fails where it does not.

usage: counts.py DIR      writes a MiB twice in DIR

Its `%O`, the file system outputs, are half kilobytes of pages made dirty, from the kernel's account of each task
(`write_bytes` of /proc/PID/io, which nobody but root can read once a process has ended).
"""

import os
import subprocess
import sys
import tempfile

SIZE = 1 << 20
WRITERS = [
    "f = open(sys.argv[1], 'r+b', 0); f.write(bytes([7]) * SIZE)",
    "f = open(sys.argv[1], 'r+b'); m = mmap.mmap(f.fileno(), SIZE); m[:] = bytes([9]) * SIZE",
]


def main():
    with tempfile.NamedTemporaryFile(dir=sys.argv[1]) as file, tempfile.NamedTemporaryFile("r") as report:
        # The host has given all blocks before.
        file.write(bytes([1]) * SIZE)
        file.flush()
        for writer in WRITERS:
            os.fsync(file.fileno())
            code = f"import mmap, sys; SIZE = {SIZE}; {writer}"
            time = ["/usr/bin/time", "-f", "%O", "-o", report.name]
            subprocess.run([*time, sys.executable, "-IS", "-c", code, file.name], check=True)
            report.seek(0)
            counted = int(report.read()) * 512
            # The inode's times take a few blocks more.
            if not SIZE <= counted <= SIZE + (64 << 10):
                sys.exit(f"counts.py: of {SIZE} bytes written, {counted} were counted: {writer}")


if __name__ == "__main__":
    main()
