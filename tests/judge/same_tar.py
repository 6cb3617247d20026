#!/usr/bin/env python3
"""Compares two tar archives entry by entry, in Python's own reading of them.

Order, and which name of a file with several comes first, do not matter; kind, mode, owner, time to the nanosecond,
device, target, content, extended attributes and the names that are one file do. Prints each difference; exit status 1
if there is one.
"""

import hashlib
import sys
import tarfile
from decimal import Decimal


def entries(path):
    found, first = {}, {}
    with tarfile.open(path, errors="surrogateescape") as archive:
        for member in archive:
            name = member.name.removeprefix("./").rstrip("/") or "."
            if name in found or name in first:
                sys.exit(f"{path}: {name!r} comes twice")
            if member.islnk():
                target = member.linkname.removeprefix("./")
                first[name] = first.get(target, target)
                continue
            content = None
            if member.isreg():
                content = hashlib.sha256()
                with archive.extractfile(member) as data:
                    while piece := data.read(1 << 20):
                        content.update(piece)
                content = content.hexdigest()
            xattrs = {k: v for k, v in member.pax_headers.items() if k.startswith("SCHILY.xattr.")}
            found[name] = {
                # Python has a type of its own for sparse files.
                "type": b"0" if member.isreg() else member.type,
                "mode": oct(member.mode & 0o7777),
                "owner": (member.uid, member.gid),
                "time": Decimal(member.pax_headers.get("mtime", member.mtime)),
                "device": (member.devmajor, member.devminor) if member.isdev() and not member.isfifo() else None,
                "target": member.linkname,
                "size": member.size,
                "content": content,
                "xattrs": xattrs,
            }
    names = {}
    for name, original in first.items():
        names.setdefault(original, {original}).add(name)
    for original, group in names.items():
        for name in group:
            found[name] = {**found[original], "names": sorted(group)}
    return found


def main():
    one, other = entries(sys.argv[1]), entries(sys.argv[2])
    differences = 0
    for name in sorted(one.keys() | other.keys()):
        a, b = one.get(name), other.get(name)
        if a != b:
            differences += 1
            keys = [key for key in (a or b) if not (a and b) or a.get(key) != b.get(key)]
            print(ascii(name), *(f"{key}: {a and a.get(key)!a} {b and b.get(key)!a}" for key in keys))
    print(f"{len(one)} entries, {differences} differ")
    sys.exit(differences > 0)


main()
