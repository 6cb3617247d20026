# shellcheck shell=bash
# What the contests work on: a Debian root, images, the edit in each program's own words, and how its outcome is judged.
# Made once in $work, when a scenario asks for it.

: "${work:?}" "${here:?}" "${autoxen:?}" "${python:?}"

input=$work/input mountpoint=$work/mnt copy=$work/copy.img

make_input() {
  [ ! -e "$input/done" ] || return 0
  mkdir -p "$input" "$mountpoint" "$mountpoint.fuse" || exit 2
  printf '# one line for the root\n/dev/xvda / ext4 errors=remount-ro 0 1\n' > "$input/fstab"
  printf '#!/bin/sh\necho hello\n' > "$input/job"
  chmod 644 "$input/fstab" && chmod 755 "$input/job"
  printf 'cp "%s" :/etc/fstab\nmkdir /etc/xenjobs.d\ncp "%s" :/etc/xenjobs.d/10-job\n' \
    "$input/fstab" "$input/job" > "$input/autoxen"
  printf 'cd /etc\nrm fstab\nwrite "%s" fstab\nmkdir xenjobs.d\ncd xenjobs.d\nwrite "%s" 10-job\n' \
    "$input/fstab" "$input/job" > "$input/debugfs"
  : > "$input/done"
}

# The tar, and what is in it.
make_root() {
  [ ! -e "$work/root.done" ] || return 0
  if [ -n "${tar:-}" ]; then
    cp "$tar" "$work/root.tar" || exit 2
  else
    command -v mmdebstrap > /dev/null || { printf 'mmdebstrap is missing: give a root with --tar\n' >&2; exit 2; }
    mmdebstrap --quiet --variant=minbase bookworm "$work/root.tar" || exit 2
  fi
  mkdir -p "$work/root" || exit 2
  # Devices are root's to make.
  local unpack=(tar --numeric-owner)
  if am_root; then unpack+=(--xattrs --xattrs-include='*'); else unpack+=(--exclude='./dev/*'); fi
  "${unpack[@]}" -C "$work/root" -xf "$work/root.tar" || exit 2
  ! command -v zstd > /dev/null || zstd -q -k -f "$work/root.tar" || exit 2
  sync -f "$work" && : > "$work/root.done"
}

# $work/SIZE.img: the Debian root in 2G; the others are sparse, and a small tree is in them.
make_image() { # SIZE
  local size=$1 from=$work/small image=$work/$1.img
  make_input
  [ ! -e "$image" ] || return 0
  if [ "$size" = 2G ]; then
    make_root
    from=$work/root
  else
    mkdir -p "$work/small/etc" && printf '# nothing yet\n' > "$work/small/etc/fstab" || exit 2
  fi
  # The same blocks in all of them; inode tables of a terabyte are not written, as mke2fs does by itself on a disk.
  mke2fs -q -F -t ext4 -b 4096 -E lazy_itable_init=1,lazy_journal_init=1 -d "$from" "$image.new" "$size" || exit 2
  sync "$image.new" && mv "$image.new" "$image" || exit 2
}

# How many blocks of 4 KiB that edit hands to the host: a block that is written in part, or again behind a sync, counts each
# time. What the host writes for itself does not: where the copy lies in many pieces, that is one block more. Fails where
# make_floor has not listed its writes.
written_blocks() { # SIZE
  [ -s "$work/$1.writes" ] || return 1
  awk '$1 == "write" { blocks += int(($2 + $3 - 1) / 4096) - int($2 / 4096) + 1 } END { print blocks }' "$work/$1.writes"
}

# How many blocks of $work/SIZE.img an edit changes for good. What it leaves in the log is none of them; the journal's
# superblock is, where the edit goes through the journal: the number of the next transaction is another one.
changed_blocks() { # SIZE OPTION...
  local size=$1 superblock
  shift
  "$here/peers/fresh" "$work/$size.img" "$copy" || exit 2
  "$autoxen" image edit "$@" -f "$input/autoxen" "$copy" > /dev/null || exit 2
  superblock=$(debugfs -R 'bmap <8> 0' "$work/$size.img" 2> /dev/null)
  [[ $superblock =~ ^[1-9][0-9]*$ ]] || { printf 'no journal in %s.img\n' "$size" >&2; exit 2; }
  debugfs -R 'blocks <8>' "$work/$size.img" 2> /dev/null | tr ' ' '\n' | grep -vx "$superblock" > "$work/log.blocks"
  "$python" "$here/blocks.py" "$work/$size.img" "$copy" "$work/log.blocks"
}

# Whether the edit is in an image, and the image whole. Says what is not.
edited() { # IMAGE
  debugfs -R 'cat /etc/fstab' "$1" 2> /dev/null | cmp -s - "$input/fstab" || { printf '/etc/fstab'; return 1; }
  debugfs -R 'cat /etc/xenjobs.d/10-job' "$1" 2> /dev/null | cmp -s - "$input/job" || { printf 'the job'; return 1; }
  debugfs -R 'stat /etc/xenjobs.d/10-job' "$1" 2> /dev/null | grep -q 'Type: regular *Mode:  0755' ||
    { printf 'the mode of the job'; return 1; }
  debugfs -R 'stat /etc/xenjobs.d/10-job' "$1" 2> /dev/null | grep -q 'User: *0 *Group: *0 ' ||
    { printf 'the owner of the job'; return 1; }
  e2fsck -fn "$1" > "$work/fsck" 2>&1 || { printf 'e2fsck -fn exits %s' $?; return 1; }
}

# A job description with the same two edits, for an image. The boot loader stands for a kernel: none is copied.
job() { # URL
  cat << XML
<xenmetaconfig>
  <general>
    <memory>256</memory>
    <bootloader>pygrub</bootloader>
  </general>
  <imagefile>
    <filesystemtype>ext4</filesystemtype>
    <mountpoint>/</mountpoint>
    <blockdevice>/dev/xvda</blockdevice>
    <url>$1</url>
  </imagefile>
  <job>
    <command>echo hello</command>
  </job>
</xenmetaconfig>
XML
}

# Whether a bundle has its image, edited and whole. An overlay is laid over its image by qemu-img first.
bundled() { # BUNDLE
  local image
  [ -s "$1/manifest.json" ] || { printf 'no manifest'; return 1; }
  image=$(find "$1" -name 'xvda*' | head -n 1)
  if [ "$(head -c 3 "$image")" = QFI ]; then
    qemu-img convert -O raw "$image" "$work/flat.img" || { printf 'qemu-img convert fails'; return 1; }
    image=$work/flat.img
  fi
  debugfs -R 'cat /etc/xenjobs.d/10-job' "$image" | grep -q 'echo hello' || { printf 'the job'; return 1; }
  debugfs -R 'cat /etc/fstab' "$image" | grep -q '^/dev/xvda / ' || { printf '/etc/fstab'; return 1; }
  e2fsck -fn "$image" > "$work/fsck" 2>&1 || { printf 'e2fsck -fn exits %s' $?; return 1; }
}

# A file system that shares blocks, on a loop device at $work/TYPE. All of the file below it has blocks, as a disk has: each
# sync there would else be a step of the log of the host's own file system as well.
mount_host() { # TYPE
  local host=$work/host.$1
  [ -e "$host" ] ||
    { head -c 4G /dev/zero > "$host.new" && sync "$host.new" && mv "$host.new" "$host"; } || exit 2
  mkdir -p "$work/$1" && "mkfs.$1" -q -f "$host" > /dev/null 2>&1 && mount -o loop "$host" "$work/$1" || exit 2
}

unmount_host() { # TYPE
  umount "$work/$1" || exit 2
}

# Wait until nobody has changed these images for more than a minute: what was changed since is not remembered.
quiet() { # IMAGE...
  local image
  for image; do
    until [ $(($(date +%s) - $(stat -c %Z "$image"))) -gt 61 ]; do sleep 1; done
  done
}

# $work/floor, and $work/SIZE.writes: what our edit in place writes and syncs in that image.
make_floor() { # SIZE
  command -v rustc > /dev/null && command -v strace > /dev/null || return 1
  [ -x "$work/floor" ] || rustc --edition 2024 -O -o "$work/floor" "$here/floor.rs" || exit 2
  "$here/peers/fresh" "$work/$1.img" "$copy" || exit 2
  strace -f -y -e trace=pwrite64,pwritev,pwritev2,fdatasync,fsync,msync -o "$work/trace" \
    "$autoxen" image edit -f "$input/autoxen" "$copy" > /dev/null || exit 2
  # A call names the file behind its descriptor; its last argument is the offset, what it returns the bytes.
  sed -nE -e "s/.* pwrite(64|v)\([0-9]+<[^>]*copy\.img>.*, ([0-9]+)\) += ([0-9]+)\$/write \2 \3/p" \
    -e "s/.* pwritev2\([0-9]+<[^>]*copy\.img>.*, ([0-9]+), [A-Z0-9_|]+\) += ([0-9]+)\$/write \1 \2/p" \
    -e "s/.* (fdatasync|fsync)\([0-9]+<[^>]*copy\.img>\) += 0\$/sync/p" "$work/trace" > "$work/$1.writes"
  # A list that leaves out what the program does would be a floor too low.
  if grep -q 'msync(' "$work/trace" ||
    [ "$(grep -c 'copy\.img>' "$work/trace")" != "$(wc -l < "$work/$1.writes")" ]; then
    printf 'not all calls of the edit are understood: %s\n' "$work/trace" >&2
    exit 2
  fi
}
