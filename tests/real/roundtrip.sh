#!/bin/bash
# Takes a real Debian system through `image build`, `image export` and `image import`, and compares each with the archive
# that it came from.
#
# usage: roundtrip.sh [TAR]        (called by tests/run; needs root and target/release/autoxen)
#
# The judges: Python's tarfile compares archives entry by entry, with all attributes; GNU tar compares them with the
# kernel's view of a loop mount, and packs that view again; e2fsck looks at the images.
set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export PATH=$project/target/release:$PATH:/usr/sbin:/sbin
work=$project/target/real
root=${1:-$work/roundtrip.tar}
umask 022
export LC_ALL=C TZ=UTC

mkdir -p "$work"
scratch=$(mktemp -d "$work/roundtrip.XXXXXX")
finish() {
  ! mountpoint -q "$scratch/mnt" || umount "$scratch/mnt"
  rm -rf "$scratch"
}
trap finish EXIT
say() { printf '%s\n' "--- $1"; }
same() { python3 "$project/tests/judge/same_tar.py" "$1" "$2"; }
pack=(tar --xattrs '--xattrs-include=*' --acls --numeric-owner)

if [ ! -f "$root" ]; then
  say 'mmdebstrap: Debian bookworm, minbase, with capabilities, ACLs and attributes'
  # shellcheck disable=SC2016 # mmdebstrap's shell gives $1
  mmdebstrap --quiet --variant=minbase --include=iputils-ping,libcap2-bin \
    --customize-hook='setfattr -n user.origin -v stock "$1/etc/hostname"' \
    --customize-hook='setfacl -m u:54321:r "$1/etc/shadow"; setfacl -d -m g:54322:rwx "$1/srv"' \
    --customize-hook='truncate -s 64M "$1/var/sparse"' \
    bookworm "$root.new.tar"
  mv "$root.new.tar" "$root"
fi

# The kernel's view of an image against an archive, both ways.
judge() { # IMAGE TAR
  e2fsck -fn "$1" > "$scratch/e2fsck" 2>&1 || { cat "$scratch/e2fsck"; return 1; }
  mkdir -p "$scratch/mnt"
  mount -o loop,ro "$1" "$scratch/mnt"
  "${pack[@]}" --compare -f "$2" -C "$scratch/mnt"
  "${pack[@]}" --format=pax --sparse --exclude=./lost+found -cf "$scratch/kernel.tar" -C "$scratch/mnt" .
  umount "$scratch/mnt"
  same "$scratch/kernel.tar" "$2"
}

say 'build, export'
autoxen image build -q -o "$scratch/root.img" "$root"
autoxen image export -q "$scratch/root.img" -o "$scratch/out.tar"
same "$root" "$scratch/out.tar"
judge "$scratch/root.img" "$scratch/out.tar"
getcap=$(python3 -c 'import sys, tarfile
print(sum("SCHILY.xattr.security.capability" in m.pax_headers for m in tarfile.open(sys.argv[1])))' "$scratch/out.tar")
say "files with capabilities: $getcap"

say 'import into an empty image of mke2fs, export'
mke2fs -q -F -t ext4 "$scratch/empty.img" 1G
autoxen image import -q "$scratch/empty.img" "$scratch/out.tar"
judge "$scratch/empty.img" "$scratch/out.tar"
autoxen image export -q "$scratch/empty.img" | cmp - "$scratch/out.tar"

say 'through a pipe, packed'
autoxen image export -q "$scratch/root.img" --compress zstd | autoxen image build -q -o "$scratch/again.img" -
autoxen image export -q "$scratch/again.img" | cmp - "$scratch/out.tar"
