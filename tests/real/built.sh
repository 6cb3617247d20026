#!/bin/bash
# Boots under Xen what `autoxen image build` made: the quick start's tree on a bare file system, and in the third partition
# of a GPT disk behind an EFI partition and swap.
#
# usage: built.sh [--real]        (called by tests/run; needs root and target/release/autoxen)
#
# The tree is what the kernel shows of the quick start's image, as GNU tar packs it. With --real also the Debian root of
# debian.sh, which is to be there already, on a GPT disk.
set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=tests/real/bundle.sh
. "$project/tests/real/bundle.sh"
work=$project/target/real/built
root=$project/target/real/debian-root.tar
rm -rf "$work"
mkdir -p "$work/mnt" "$work/esp/EFI"

mounted=
finish() { [ -z "$mounted" ] || umount "$mounted"; }
trap finish EXIT

zstd -q -d "$project/fixtures/quickstart/quickstart.img.zst" -o "$work/stock.img"
mount -o loop,ro "$work/stock.img" "$work/mnt"
mounted=$work/mnt
tar --xattrs --xattrs-include='*' --numeric-owner --exclude=./lost+found -C "$work/mnt" -cf "$work/tree.tar" .
until umount "$mounted" 2> /dev/null; do :; done
mounted=
rm "$work/stock.img"
echo 'An EFI partition.' > "$work/esp/EFI/README"

# Build, prepare and boot a job whose image is built.img, and judge what the guest left.
boot_built() { # NAME OFFSET-OF-ROOT SECONDS
  local dir=$work/$1 log=$project/target/real/built-$1.log
  autoxen prepare "$dir/job.xml" -o "$dir/bundle"
  boot "$dir/bundle" "$log" "$3"
  for disk in "$dir"/bundle/xvda*.img; do e2fsck -fn "$disk?offset=$2"; done
}
hello() { # LOG
  expect "$1" 'Hello from quickstart, Linux 6.1.0-56-amd64'
  expect "$1" 'Made ready by AutoXen.'
  expect "$1" 'The sum of 1 to 100 is 5050'
  expect "$1" 'xenjobs: /etc/xenjobs.d/11-sum ended with status 0'
}
# Where the partition of a number starts, in bytes.
start_of() { # DISK NUMBER
  sfdisk -J "$1" | python3 -c '
import json, sys
table = json.load(sys.stdin)["partitiontable"]
print(table["partitions"][int(sys.argv[1]) - 1]["start"] * table.get("sectorsize", 512))' "$2"
}

mkdir "$work/bare"
autoxen image build -q -o "$work/bare/built.img" --size auto+16M "$work/tree.tar"
sed 's/quickstart\.img\.zst/built.img/' "$project/fixtures/quickstart/job.xml" > "$work/bare/job.xml"
boot_built bare 0 120
hello "$project/target/real/built-bare.log"

mkdir "$work/disk"
autoxen image build -q -o "$work/disk/built.img" --disk gpt \
  --part "type=esp,size=48M,from=$work/esp" --part type=swap,size=16M \
  --part "type=root,size=auto+16M,from=$work/tree.tar"
sgdisk -v "$work/disk/built.img"
sed -e 's/quickstart\.img\.zst/built.img/' -e 's,/dev/xvda\b,/dev/xvda3,' -e 's/<imagefile>/<imagefile partition="3">/' \
  "$project/fixtures/quickstart/job.xml" > "$work/disk/job.xml"
boot_built disk "$(start_of "$work/disk/built.img" 3)" 120
hello "$project/target/real/built-disk.log"

if [ "${1:-}" = --real ]; then
  [ -f "$root" ] || die "no $root: debian.sh makes it"
  mkdir "$work/debian"
  autoxen image build -q -o "$work/debian/built.img" --disk gpt \
    --part "type=esp,size=48M,from=$work/esp" --part "type=root,size=auto+256M,label=root,from=$root"
  cp "$project/tests/real/debian/xenjobs" "$project/tests/real/debian/xenjobs.service" "$work/debian/"
  sed 's/stock\.img/built.img/' "$project/tests/real/debian/gpt.xml" > "$work/debian/job.xml"
  boot_built debian "$(start_of "$work/debian/built.img" 2)" 1200
  log=$project/target/real/built-debian.log
  expect "$log" 'Hello from partitioned, Debian GNU/Linux 12 (bookworm)'
  expect "$log" 'The root is /dev/xvda2 ext4'
fi
rm -rf "$work"
