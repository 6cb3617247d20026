# shellcheck shell=bash
make_image 2G
begin thousand 'Many bundles of one template, 2 GiB' \
  'A thousand on an XFS that shares blocks, twenty where every one is a copy. Seconds are for all of them.'
rounds=3
shared=1000 copied=20
bundles() { # PREFIX DIR COUNT [--once]: contestants that make COUNT bundles of DIR/2G.img below DIR/out
  local prefix=$1 base=$2 count=$3 often=${4:-} number gone jobs=()
  local options=(--ours)
  [ -z "$often" ] || options+=("$often")
  gone=$(quoted "$here/peers/gone" "$base/out")
  mkdir -p "$base/jobs"
  for ((number = 1; number <= count; number++)); do
    jobs+=("$base/jobs/$(printf 'job%04d' "$number").xml")
    job "$base/2G.img" > "${jobs[-1]}"
  done
  if knows --into prepare; then
    contest "${prefix}_one" "$prefix: autoxen prepare, $count bundles, --no-digests" "${options[@]}" --before "$gone" \
      --check bundled "$base/out/job0001" \
      -- "$autoxen" prepare -q --runner none --no-digests "${jobs[@]}" --into "$base/out"
    contest "${prefix}_digests" "$prefix: autoxen prepare, $count bundles" "${options[@]}" --before "$gone" \
      --check bundled "$base/out/job0001" -- "$autoxen" prepare -q --runner none "${jobs[@]}" --into "$base/out"
  else
    absent "${prefix}_one" "$prefix: autoxen prepare, $count bundles, one process" \
      'the program does not know --into yet'
  fi
}
if am_root; then
  mount_host xfs
  cp --sparse=auto "$work/2G.img" "$work/xfs/2G.img" && sync -f "$work/xfs" || exit 2
  contest shared_cp "shared: cp --reflink=always, $shared processes (a shell)" --base \
    --before "$(quoted "$here/peers/gone" "$work/xfs/out")" \
    -- "$here/peers/copies" "$shared" "$work/xfs/2G.img" "$work/xfs/out" --reflink=always
  # A thousand tell enough in one run.
  bundles shared "$work/xfs" "$shared" --once
fi
contest copied_cp "copied: cp --sparse=auto and one sync, $copied processes (a shell)" --base \
  --before "$(quoted "$here/peers/gone" "$work/out")" \
  -- "$here/peers/copies" "$copied" "$work/2G.img" "$work/out" --sparse=auto
bundles copied "$work" "$copied"
race
if am_root; then
  unmount_host xfs
  target "bundles a second, blocks shared, --no-digests" "$shared / wall:shared_one" '>=' 200 /s
  target "bundles a second, blocks shared, with digests" "$shared / wall:shared_digests" '>=' 200 /s
fi
target "$copied bundles, blocks copied, --no-digests, against cp and one sync" \
  'wall:copied_one / wall:copied_cp' '<=' 1.05 x
rm -rf "$work/out" "$work/jobs"
