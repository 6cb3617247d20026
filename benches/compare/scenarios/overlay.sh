# shellcheck shell=bash
make_image 2G
begin overlay 'prepare --overlay, 2 GiB' \
  'The bundle holds a qcow2 whose backing file is the stock image; the host shares no blocks.'
quiet "$work/2G.img"
job 2G.img > "$work/job.xml"
out=$work/out
gone=$(quoted "$here/peers/gone" "$out")
if have qemu_img 'qemu-img create' qemu-img; then
  contest qemu_img 'qemu-img create -b, empty' --base --before "$gone" \
    -- qemu-img create -q -f qcow2 -b "$work/2G.img" -F raw "$out"
fi
if knows --overlay prepare; then
  contest autoxen 'autoxen prepare --overlay' --ours --before "$gone" --check bundled "$out" \
    -- "$autoxen" prepare -q --runner none --overlay "$work/job.xml" -o "$out"
  contest no_digests 'autoxen prepare --overlay --no-digests' --ours --before "$gone" --check bundled "$out" \
    -- "$autoxen" prepare -q --runner none --overlay --no-digests "$work/job.xml" -o "$out"
else
  absent autoxen 'autoxen prepare --overlay' 'the program does not know --overlay yet'
fi
race
[ ! -d "$out" ] || value bundle "$(($(du -sk "$out" | cut -f 1) * 1024))"
rm -rf "$out"
target 'prepare --overlay of 2 GiB, with digests' 'wall:autoxen' '<=' 0.010 ms
target 'prepare --overlay of 2 GiB, --no-digests' 'wall:no_digests' '<=' 0.010 ms
target 'the bundle of prepare --overlay, on the disk' 'value:bundle' '<=' 1048576 MiB
