# shellcheck shell=bash disable=SC2016 # shells of their own expand these, and backticks are markdown
make_image 2G
begin prepare 'prepare, with a copy, 2 GiB' \
  'A bundle with a private copy of the image, edited; durable by a sync at the end.
The file system of the host shares no blocks.'
quiet "$work/2G.img"
job 2G.img > "$work/job.xml"
out=$work/out
gone=$(quoted "$here/peers/gone" "$out")
contest cp 'cp --sparse=auto, its fsync (a shell)' --base --before "$gone" \
  -- sh -c 'cp --sparse=auto "$1" "$2" && sync "$2"' sh "$work/2G.img" "$out"
contest cp_only 'cp --sparse=auto, no fsync' --before "$gone" -- cp --sparse=auto "$work/2G.img" "$out"
contest autoxen 'autoxen prepare' --ours --before "$gone" --check bundled "$out" \
  -- "$autoxen" prepare -q --runner none "$work/job.xml" -o "$out"
contest unknown 'autoxen prepare, of an image not seen before' --ours --before "$gone" --check bundled "$out" \
  -- env XDG_CACHE_HOME=/dev/null "$autoxen" prepare -q --runner none "$work/job.xml" -o "$out"
contest no_digests 'autoxen prepare --no-digests' --ours --before "$gone" --check bundled "$out" \
  -- "$autoxen" prepare -q --runner none --no-digests "$work/job.xml" -o "$out"
contest cp_debugfs 'cp --sparse=auto, debugfs -w -f, fsync (a shell)' --before "$gone" --check edited "$out" \
  -- sh -c 'cp --sparse=auto "$1" "$2" && debugfs -w -f "$3" "$2" && sync "$2"' sh \
  "$work/2G.img" "$out" "$input/debugfs"
race
rm -rf "$out"
target 'prepare with a copy, durable, with digests, against cp and fsync' 'wall:autoxen / wall:cp' '<=' 1.05 x
target 'prepare with a copy, durable, with digests, of an image not seen before, against cp and fsync' \
  'wall:unknown / wall:cp' '<=' 1.05 x
target 'prepare with a copy, durable, --no-digests, against cp and fsync' 'wall:no_digests / wall:cp' '<=' 1.05 x
