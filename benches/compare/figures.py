#!/usr/bin/env python3
"""What a command takes beside time: peak memory and bytes written, its children counted.

usage: figures.py OUT COMMAND...      writes `key=value` lines to OUT, exits as the command does
       figures.py --self-test DIR     writes known amounts in DIR and says whether they were counted

Peak memory is GNU time's. Bytes written are those of pages made dirty, by write calls or through a map; they stand in
/proc/PID/io of the process when it has ended and is not reaped yet. What the kernel writes for others, as for a loop
mount, is not among them.
"""

import os
import subprocess
import sys
import tempfile


def measure(command):
    """Run `command`; its status, kilobytes of peak memory, bytes made dirty."""
    with tempfile.NamedTemporaryFile("r") as report:
        # GNU time is small and asks for each child alone: below Python, the peak would be that of Python.
        timed = ["/usr/bin/time", "--quiet", "-f", "%M", "-o", report.name, *command]
        child = subprocess.Popen(timed, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        with open(f"/proc/{child.pid}/io", encoding="ascii") as io:
            counts = dict(line.split(": ") for line in io.read().splitlines())
        status = child.wait()
        memory = int(report.read().split()[-1])
    return status, memory, int(counts["write_bytes"])


WRITE = "f = open(sys.argv[1], 'r+b', 0); f.write(bytes([7]) * SIZE)"
MAP = "f = open(sys.argv[1], 'r+b'); m = mmap.mmap(f.fileno(), SIZE); m[:] = bytes([9]) * SIZE"


def self_test(directory):
    """Write a MiB by calls and a MiB through a map, into blocks that the host has given already."""
    size = 1 << 20
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        file.write(bytes([1]) * size)
        file.flush()
        for way in (WRITE, MAP):
            os.fsync(file.fileno())
            code = "import mmap, sys; SIZE = 1 << 20; " + way
            status, _, dirtied = measure([sys.executable, "-IS", "-c", code, file.name])
            # The inode's times and the report of GNU time take a few blocks more.
            if status != 0 or not size <= dirtied <= size + (64 << 10):
                sys.exit(f"figures.py: of {size} bytes written, {dirtied} were counted: {way}")


def main():
    if sys.argv[1] == "--self-test":
        self_test(sys.argv[2])
        return 0
    status, memory, dirtied = measure(sys.argv[2:])
    with open(sys.argv[1], "a", encoding="utf-8") as out:
        out.write(f"peak_kib={memory}\nwrite_bytes={dirtied}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
