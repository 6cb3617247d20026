#!/bin/bash
# Prepares a real Debian system, once on a bare ext3 image and once in the second partition of a GPT disk, and compares
# what came out with the kernel's own view of it.
#
# usage: debian.sh [--boot]        (called by tests/run; needs root and target/release/autoxen)
#
# The judge is the kernel: a copy of the stock image is mounted, the edits that `autoxen plan --json` announces are made
# in it by coreutils, and its listing (type, mode, owner, links, size, inode number, time, content, extended attributes
# of every path) must equal the listing of the prepared image. Only the edited paths may have other inode numbers, and
# they and their directories another time. With --boot the bundles are started under Xen; that takes minutes, where Xen
# is emulated.
set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=tests/real/bundle.sh
. "$project/tests/real/bundle.sh"
here=$project/tests/real/debian
work=$project/target/real
boots=no
[ "${1:-}" != --boot ] || boots=yes
umask 022
export LC_ALL=C TZ=UTC

mounted=
finish() {
  [ -z "$mounted" ] || umount "$mounted"
  [ ! -d "$work/mnt" ] || rmdir "$work/mnt"
  rm -rf "$work/root" "$work/ext3" "$work/gpt" "$work/edit.json" "$work/known.json" "$work/known.sums"
}
trap finish EXIT
say() { printf '%s\n' "--- $1"; }

# The stock root, as a tar; it is kept for the next run.
debian_root() { # TAR
  if [ -f "$1" ]; then
    say "using $1 (remove it to have it made anew)"
    return
  fi
  say 'mmdebstrap: Debian bookworm, minbase, with systemd and the kernel'
  # shellcheck disable=SC2016 # mmdebstrap's shell gives $1
  mmdebstrap --quiet --variant=minbase --include=systemd-sysv,linux-image-amd64,initramfs-tools \
    --customize-hook='echo stock > "$1/etc/hostname"' bookworm "$1.new.tar"
  mv "$1.new.tar" "$1"
}

unpack_root() { # TAR
  rm -rf "$work/root"
  mkdir -p "$work/root"
  tar -xf "$1" -C "$work/root" --numeric-owner --xattrs --xattrs-include='*'
  cp "$here/stock-fstab" "$work/root/etc/fstab"
  # What a replaced file has to keep.
  chmod 0640 "$work/root/etc/fstab"
  chown 0:4 "$work/root/etc/fstab"
  setfattr -n user.origin -v stock "$work/root/etc/fstab"
}

mount_volume() { # IMAGE OPTIONS    at $work/mnt
  mkdir -p "$work/mnt"
  mount -o "$2,loop,offset=$offset,sizelimit=$length" "$1" "$work/mnt"
  mounted=$work/mnt
}
unmount_volume() { umount "$mounted"; mounted=; }

# Everything that the kernel shows of a mounted tree, one line a fact, sorted.
listing() { # DIRECTORY
  (
    cd "$1"
    find . -xdev -printf '%p\t%y %m %U:%G links=%n size=%s inode=%i mtime=%T@ -> %l\n'
    find . -xdev -type f -print0 | xargs -0 sha256sum | sed -E 's/^([0-9a-f]+)  (.*)$/\2\tsha256 \1/'
    find . -xdev \( -type b -o -type c \) -exec stat -c '%n%n%t:%T' {} + | sed -E 's/^(.*)\1(.*)$/\1\tdevice \2/'
    find . -xdev -print0 | xargs -0 getfattr --absolute-names -h -d -m - -e hex |
      awk '/^# file: / { path = substr($0, 9); next } NF { print path "\txattr " $0 }'
  ) | sort
}

# Blank the inode numbers of the edited paths, and their times and those of their directories.
mask() { # EDITED < LISTING
  awk -F '\t' -v OFS='\t' -v list="$1" '
    BEGIN {
      while ((getline path < list) > 0) {
        edited[path] = touched[path] = 1
        sub("/[^/]*$", "", path)
        touched[path] = 1
      }
    }
    $1 in touched { sub(/ mtime=[^ ]*/, " mtime=-", $2) }
    $1 in edited { sub(/ inode=[^ ]*/, " inode=-", $2) }
    { print }'
}

# Make the planned edits in the mounted copy, as a user of the kernel would.
apply_plan() { # PLAN DIRECTORY
  local index count edit path action mode owner
  count=$(jq '[.disks[].volumes[].edits[]] | length' "$1")
  for ((index = 0; index < count; index++)); do
    edit=$work/edit.json
    jq "[.disks[].volumes[].edits[]][$index]" "$1" > "$edit"
    path=$2$(jq -r .path "$edit")
    action=$(jq -r .action "$edit")
    mode=$(jq -r '.mode // ""' "$edit")
    owner=$(jq -r '.owner // [] | map(tostring) | join(":")' "$edit")
    mkdir -p "$(dirname "$path")"
    case $action in
      write)
        if jq -e '.content.host' "$edit" > /dev/null; then
          cat "$(jq -r .content.host "$edit")" > "$path"
        else
          jq -je '.content.text' "$edit" > "$path"
        fi
        ;;
      create_dir) mkdir -p "$path" ;;
      symlink) ln -sfn "$(jq -r .target "$edit")" "$path" ;;
      *) die "the plan has an action that this script does not know: $action" ;;
    esac
    [ -z "$owner" ] || chown -h "$owner" "$path"
    [ -z "$mode" ] || chmod "$mode" "$path"
  done
}

# Prepare one stock image, and judge the result.
judge() { # NAME IMAGE-IN-BUNDLE
  local name=$1 dir=$work/$1 bundle=$work/$1/bundle disk before
  disk=$bundle/$2
  cp "$here/$name.xml" "$here/xenjobs" "$here/xenjobs.service" "$dir/"
  before=$(sha256sum < "$dir/stock.img")

  say "$name: what image info says of it, against the system's own words"
  autoxen image info --json "$dir/stock.img" > "$dir/info.json"
  jq -e --slurpfile known "$work/known.json" '
    [.volumes[].guest | values][0] as $guest | $known[0] == {
      release: $guest.release.name, machine: $guest.machine, init: $guest.init[0],
      systemd: $guest.systemd, kernel: $guest.kernels[0].release
    }' "$dir/info.json" > /dev/null ||
    die "$name: image info says another thing: $(jq -c '[.volumes[].guest | values]' "$dir/info.json"), not $(cat "$work/known.json")"
  autoxen image kernel "$dir/stock.img" -o "$dir/kernel"
  (cd "$dir/kernel" && sha256sum -- *) | diff - "$work/known.sums" || die "$name: another kernel came out"
  rm -r "$dir/kernel"

  say "$name: plan and prepare"
  autoxen plan --json "$dir/$name.xml" > "$dir/plan.json"
  autoxen prepare "$dir/$name.xml" -o "$bundle"
  ls -lsh "$bundle"
  [ "$(sha256sum < "$dir/stock.img")" = "$before" ] || die "$name: the stock image has changed"

  say "$name: e2fsck -fn"
  e2fsck -fn "$disk?offset=$offset"

  say "$name: the kernel's view"
  mount_volume "$dir/stock.img" ro
  listing "$mounted" > "$dir/stock.list"
  unmount_volume
  cp --sparse=always "$dir/stock.img" "$dir/expected.img"
  mount_volume "$dir/expected.img" rw
  apply_plan "$dir/plan.json" "$mounted"
  listing "$mounted" > "$dir/expected.list"
  unmount_volume
  rm "$dir/expected.img"
  mount_volume "$disk" ro
  listing "$mounted" > "$dir/prepared.list"
  cp "$mounted/etc/fstab" "$dir/fstab"
  getfattr --only-values -n user.origin "$mounted/etc/fstab" > "$dir/fstab.origin"
  unmount_volume

  { jq -r '"." + .disks[].volumes[].edits[].path' "$dir/plan.json"
    comm -13 <(cut -f1 "$dir/stock.list" | sort -u) <(cut -f1 "$dir/expected.list" | sort -u); } |
    sort -u > "$dir/edited"
  printf '%s paths in the stock image; edited or new:\n' "$(cut -f1 "$dir/stock.list" | sort -u | wc -l)"
  cat "$dir/edited"
  diff <(mask "$dir/edited" < "$dir/expected.list") <(mask "$dir/edited" < "$dir/prepared.list") ||
    die "$name: the prepared image is not what the plan says"
  # The plan itself is not taken on trust: these are the lines that a guest of this job needs.
  diff "$here/$name-fstab" <(awk '!/^#/ && NF { $1 = $1; print }' "$dir/fstab") ||
    die "$name: the prepared fstab mounts something else"
  [ "$(cat "$dir/fstab.origin")" = stock ] || die "$name: fstab has lost its extended attribute"
  grep -q $'^\./etc/fstab\tf 640 0:4 ' "$dir/prepared.list" || die "$name: fstab has lost its owner or mode"
  printf 'the kernel shows the planned change and no other\n'
}

boot_debian() { # NAME IMAGE-IN-BUNDLE HOSTNAME ROOT
  local log=$work/debian-$1.log
  boot "$work/$1/bundle" "$log" 1200
  expect "$log" "Hello from $3, Debian GNU/Linux 12 (bookworm)"
  expect "$log" "The root is $4"
  expect "$log" 'xenjobs: /etc/xenjobs.d/10-hello ended with status 0'
  expect "$log" 'xenjobs: /etc/xenjobs.d/11-mounts ended with status 0'
  # The guest has written to its disk and shut it down.
  e2fsck -fn "$work/$1/bundle/$2?offset=$offset"
}

mkdir -p "$work"
debian_root "$work/debian-root.tar"
unpack_root "$work/debian-root.tar"
rm -rf "$work/ext3" "$work/gpt"
mkdir "$work/ext3" "$work/gpt"
# shellcheck disable=SC1091 # the image's own
release=$(. "$work/root/etc/os-release" && printf '%s' "$PRETTY_NAME")
jq -n --arg release "$release" --arg machine "$(uname -m)" --arg kernel "$(ls "$work/root/lib/modules")" \
  --arg systemd "$(chroot "$work/root" systemctl --version | awk 'NR == 1 { print $2 }')" \
  '{release: $release, machine: $machine, init: "systemd", systemd: $systemd, kernel: $kernel}' > "$work/known.json"
(cd "$work/root/boot" && sha256sum initrd.img-* vmlinuz-*) > "$work/known.sums"

say 'stock images'
mke2fs -q -t ext3 -d "$work/root" "$work/ext3/stock.img" 2G
truncate -s 2G "$work/gpt/stock.img"
sgdisk -n 1:2048:+64M -t 1:ef00 -n 2:0:0 -t 2:8300 "$work/gpt/stock.img" > /dev/null
read -r first sectors < <(sfdisk -J "$work/gpt/stock.img" | jq -r '.partitiontable.partitions[1] | "\(.start) \(.size)"')
mke2fs -q -t ext4 -U 6d2f9a3e-93a5-4c55-9a1c-2f7a5ad40002 -E "offset=$((first * 512))" \
  -d "$work/root" "$work/gpt/stock.img" "$((sectors / 2))k"
rm -rf "$work/root"

offset=0 length=$((2 << 30))
judge ext3 xvda1.img
[ $boots = no ] || boot_debian ext3 xvda1.img bare '/dev/xvda1 ext3'
rm -rf "$work/ext3"

offset=$((first * 512)) length=$((sectors * 512))
judge gpt xvda.img
[ $boots = no ] || boot_debian gpt xvda.img partitioned '/dev/xvda2 ext4'
