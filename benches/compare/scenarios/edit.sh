# shellcheck shell=bash
make_image 2G
begin edit 'Edit of a private copy, 2 GiB' \
  '/etc/fstab is replaced, a directory and a job script are added; nobody syncs, a crash may leave anything.'
if knows --no-sync image edit; then
  contest autoxen 'autoxen image edit --no-sync' --ours --copy "$work/2G.img" "$copy" --check edited "$copy" \
    -- "$autoxen" image edit --no-sync -f "$input/autoxen" "$copy"
else
  absent autoxen 'autoxen image edit --no-sync' 'the program does not know --no-sync yet'
fi
contest debugfs 'debugfs -w -f' --base --copy "$work/2G.img" "$copy" --check edited "$copy" \
  -- debugfs -w -f "$input/debugfs" "$copy"
if have e2tools 'e2tools: e2rm, e2cp, e2mkdir, e2cp' e2cp; then
  contest e2tools 'e2tools: e2rm, e2cp, e2mkdir, e2cp (a shell)' --copy "$work/2G.img" "$copy" --check edited "$copy" \
    -- "$here/peers/edit-e2tools" "$copy" "$input"
fi
if have fuse2fs 'fuse2fs' fuse2fs && [ -w /dev/fuse ]; then
  contest fuse2fs 'fuse2fs, install, umount (a shell)' --copy "$work/2G.img" "$copy" --check edited "$copy" \
    -- "$here/peers/edit-fuse2fs" "$copy" "$input" "$mountpoint.fuse"
fi
if am_root; then
  contest loop 'loop mount, install, umount (root, a shell)' --copy "$work/2G.img" "$copy" --check edited "$copy" \
    -- "$here/peers/edit-loop" "$copy" "$input" "$mountpoint"
fi
if [ "$appliances" = yes ]; then
  have guestfish guestfish guestfish && contest guestfish 'guestfish, force_tcg' --once \
    --copy "$work/2G.img" "$copy" --check edited "$copy" -- guestfish -a "$copy" -m /dev/sda \
    upload "$input/fstab" /etc/fstab : mkdir /etc/xenjobs.d : upload "$input/job" /etc/xenjobs.d/10-job : \
    chmod 0755 /etc/xenjobs.d/10-job
  have virt_customize virt-customize virt-customize && contest virt_customize 'virt-customize, force_tcg' --once \
    --copy "$work/2G.img" "$copy" --check edited "$copy" -- virt-customize -q --no-network -a "$copy" \
    --upload "$input/fstab:/etc/fstab" --mkdir /etc/xenjobs.d --upload "$input/job:/etc/xenjobs.d/10-job" \
    --chmod 0755:/etc/xenjobs.d/10-job
fi
race
