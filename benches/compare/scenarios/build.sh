# shellcheck shell=bash disable=SC2016 # shells of their own expand these, and backticks are markdown
make_root
begin build 'Images out of a Debian root, and a tar out of an image' \
  'Every command is followed by a sync of what it has made; ours syncs by itself.
genext2fs makes ext2 without extended attributes.'
rounds=$(((runs + 2) / 3))
out=$work/out
gone=$(quoted "$here/peers/gone" "$out")
# A command that is given a sync, in a shell.
synced() { # ID NAME COMMAND [WORD...]
  local id=$1 name=$2 script=$3
  shift 3
  contest "$id" "$name" --before "$gone" --check made "$out" -- sh -c "$script && sync \"\$1\"" sh "$out" "$@"
}
made() { # FILE
  [ -s "$1" ] || { printf 'nothing was made'; return 1; }
  case $(head -c 1082 "$1" | tail -c 2 | od -An -tx2) in
    *ef53*) e2fsck -fn "$1" > /dev/null 2>&1 || { printf 'e2fsck -fn exits %s' $?; return 1; } ;;
  esac
  figure "$id" disk_bytes $(($(stat -c '%b * %B' "$1")))
}
[ -e "$work/exported" ] || "$autoxen" image build -q -o "$work/exported" "$work/root.tar" > /dev/null || exit 2
contest cp 'cp of the tar, sync (a shell)' --base --before "$gone" \
  -- sh -c 'cp "$1" "$2" && sync "$2"' sh "$work/root.tar" "$out"
contest from_tar 'autoxen image build, from the tar' --ours --before "$gone" --check made "$out" \
  -- "$autoxen" image build -q -o "$out" "$work/root.tar"
if [ -e "$work/root.tar.zst" ]; then
  contest from_zst 'autoxen image build, from the tar, zstd' --ours --before "$gone" --check made "$out" \
    -- "$autoxen" image build -q -o "$out" "$work/root.tar.zst"
fi
contest from_dir 'autoxen image build, from the directory' --ours --before "$gone" --check made "$out" \
  -- "$autoxen" image build -q -o "$out" "$work/root"
synced mke2fs 'mke2fs -d, from the directory' 'mke2fs -q -F -t ext4 -d "$2" "$1" 512M' "$work/root"
if have genext2fs 'genext2fs' genext2fs; then
  synced genext2fs 'genext2fs, from the directory' 'genext2fs -B 4096 -b 131072 -N 32768 -d "$2" "$1"' "$work/root"
  synced genext2fs_tar 'genext2fs, from the tar' 'genext2fs -B 4096 -b 131072 -N 32768 -a "$2" "$1"' "$work/root.tar"
fi
if am_root; then
  contest loop 'loop mount, mke2fs, tar -x (root)' --before "$gone" --check made "$out" \
    -- "$here/peers/build-loop" "$work/root.tar" "$out" "$mountpoint"
fi
if [ "$appliances" = yes ] && have virt_make_fs 'virt-make-fs, from the tar' virt-make-fs; then
  contest virt_make_fs 'virt-make-fs, from the tar, force_tcg' --once --before "$gone" --check made "$out" \
    -- virt-make-fs --type=ext4 "$work/root.tar" "$out"
fi
contest export 'export: autoxen image export' --ours --before "$gone" --check made "$out" \
  -- "$autoxen" image export "$work/exported:/" -o "$out"
if am_root; then
  contest export_loop 'export: loop mount, tar -c (root)' --before "$gone" --check made "$out" \
    -- sh -c '"$1" "$2" "$3" tar --xattrs --xattrs-include="*" --numeric-owner -cf "$4" . && sync "$4"' \
    sh "$here/peers/read-loop" "$work/exported" "$mountpoint" "$out"
fi
race
rm -f "$out"
