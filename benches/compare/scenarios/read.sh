# shellcheck shell=bash disable=SC2016 # shells of their own expand these, and backticks are markdown
make_image 2G
begin read 'Reading, 2 GiB' \
  'One file, and all names of the Debian root with their modes, owners, sizes and times. The page cache is warm; a mount
that stands has all names in memory as well.'
image=$work/2G.img
many=10 few=2
contest true 'true' --base --loops "$many" -- true
contest cat 'cat: autoxen image cat' --ours --loops "$many" -- "$autoxen" image cat "$image:/usr/lib/os-release"
contest cat_debugfs 'cat: debugfs -R cat' --loops "$many" -- debugfs -R 'cat /usr/lib/os-release' "$image"
if have cat_e2cp 'cat: e2cp' e2cp; then
  contest cat_e2cp 'cat: e2cp' --loops "$many" -- e2cp "$image:/usr/lib/os-release" -
fi
if am_root; then
  contest cat_loop 'cat: loop mount, cat, umount (root, a shell)' -- "$here/peers/read-loop" "$image" "$mountpoint" \
    cat usr/lib/os-release
fi
if [ "$appliances" = yes ] && have guestfish 'cat: guestfish' guestfish; then
  contest guestfish 'cat: guestfish, force_tcg' --once -- guestfish --ro -a "$image" -m /dev/sda cat /usr/lib/os-release
fi
contest list 'ls -lR: autoxen image ls -lR' --ours --loops "$few" -- "$autoxen" image ls -lR "$image:/"
if am_root; then
  mkdir -p "$work/standing" && mount -o loop,ro "$image" "$work/standing" || exit 2
  contest list_standing 'ls -lR: find -ls on a standing loop mount (root)' --loops "$few" \
    -- find "$work/standing" -ls
  contest list_loop 'ls -lR: loop mount, find -ls, umount (root, a shell)' -- "$here/peers/read-loop" "$image" \
    "$mountpoint" find . -ls
fi
race
if am_root; then
  umount "$work/standing" || exit 2
  target '`image ls -lR` of a Debian root against `find -ls`, its mount not counted' \
    'wall:list / wall:list_standing' '<=' 1.0 x
  target '`image ls -lR` of a Debian root against mount, `find -ls`, umount' 'wall:list / wall:list_loop' '<=' 1.0 x
fi
target '`image cat` of one file against `true`' 'wall:cat / wall:true' '<=' 1.4 x
