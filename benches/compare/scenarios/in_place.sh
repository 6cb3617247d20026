# shellcheck shell=bash disable=SC2016 # shells of their own expand these, and backticks are markdown
make_image 2G
begin in_place 'Edit in place, 2 GiB' \
  'The same edit, synced.
Ours goes through the journal of the image, and survives a crash at any moment; debugfs does neither, and does
not sync by itself.
The floor is a program that writes as many blocks with as many fdatasync, and does nothing else.'
# The kernel and e2tools keep the image whole once they are done, and only then; they are given a sync of it.
contest autoxen 'autoxen image edit' --ours --copy "$work/2G.img" "$copy" --check edited "$copy" \
  -- "$autoxen" image edit -f "$input/autoxen" "$copy"
contest debugfs 'debugfs -w -f' --base --copy "$work/2G.img" "$copy" --check edited "$copy" \
  -- debugfs -w -f "$input/debugfs" "$copy"
contest debugfs_sync 'debugfs -w -f, sync (a shell)' --copy "$work/2G.img" "$copy" --check edited "$copy" \
  -- sh -c 'debugfs -w -f "$1" "$2" && sync "$2"' sh "$input/debugfs" "$copy"
if make_floor 2G; then
  contest floor 'the floor' --copy "$work/2G.img" "$copy" -- "$work/floor" "$work/2G.writes" "$copy"
else
  absent floor 'the floor' 'rustc or strace is not installed'
fi
if have e2tools 'e2tools, sync' e2cp; then
  contest e2tools 'e2tools, sync (a shell)' --copy "$work/2G.img" "$copy" --check edited "$copy" \
    -- sh -c '"$1" "$2" "$3" && sync "$2"' sh "$here/peers/edit-e2tools" "$copy" "$input"
fi
if am_root; then
  contest loop 'loop mount, umount, sync (root, a shell)' --copy "$work/2G.img" "$copy" --check edited "$copy" \
    -- sh -c '"$1" "$2" "$3" "$4" && sync "$2"' sh "$here/peers/edit-loop" "$copy" "$input" "$mountpoint"
fi
race
