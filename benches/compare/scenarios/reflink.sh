# shellcheck shell=bash disable=SC2016 # shells of their own expand these, and backticks are markdown
if ! am_root; then
  begin reflink 'prepare, where the host shares blocks' 'Left out: only root mounts an XFS and a btrfs.'
  return 0
fi
for size in 64M 2G 32G 1T; do make_image "$size"; done
begin reflink 'prepare, where the host shares blocks' \
  'The image and the bundle lie on an XFS and on a btrfs, each on a loop device. Digests of the image are remembered from
a run before these.'
reflinks_on() { # TYPE
  local type=$1 base=$work/$1 size gone few
  mount_host "$type"
  gone=$(quoted "$here/peers/gone" "$base/out")
  for size in 64M 2G 32G 1T; do
    job "$size.img" > "$base/$size.xml"
    cp --sparse=auto "$work/$size.img" "$base/$size.img" || exit 2
    contest "cp_${type}_$size" "$type, $size: cp --reflink=always, its fsync (a shell)" --base --before "$gone" \
      -- sh -c 'cp --reflink=always "$1" "$2" && sync "$2"' sh "$base/$size.img" "$base/out"
    contest "${type}_$size" "$type, $size: autoxen prepare --no-digests" --ours --before "$gone" \
      --check bundled "$base/out" \
      -- "$autoxen" prepare -q --runner none --no-digests "$base/$size.xml" -o "$base/out"
    # A digest of a terabyte is not made in milliseconds.
    few=()
    [ "$size" != 1T ] || few=(--few)
    contest "digests_${type}_$size" "$type, $size: autoxen prepare" --ours "${few[@]}" --before "$gone" \
      --check bundled "$base/out" \
      -- "$autoxen" prepare -q --runner none "$base/$size.xml" -o "$base/out"
  done
  sync -f "$base"
}
reflinks_on xfs
reflinks_on btrfs
quiet "$work"/xfs/*.img "$work"/btrfs/*.img
race
for type in xfs btrfs; do
  for size in 64M 2G 32G 1T; do
    target "prepare by reflink, $type, $size, --no-digests" "wall:${type}_$size" '<=' 0.010 ms
    target "prepare by reflink, $type, $size, with digests" "wall:digests_${type}_$size" '<=' 0.010 ms
  done
done
unmount_host xfs
unmount_host btrfs
