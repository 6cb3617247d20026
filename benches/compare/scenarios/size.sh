# shellcheck shell=bash
begin size 'Cost against the size of the image' \
  'The same edit in images of four sizes, all sparse: with the Debian root in the one of 2 GiB, nearly empty the others.
Ratios are to debugfs in the image of the same size.'
edit_of_size() { # SIZE
  local size=$1 image=$work/$1.img
  make_image "$size"
  contest "debugfs_$size" "$size: debugfs -w -f" --base --copy "$image" "$copy" --check edited "$copy" \
    -- debugfs -w -f "$input/debugfs" "$copy"
  if knows --no-sync image edit; then
    contest "private_$size" "$size: autoxen image edit --no-sync" --ours --copy "$image" "$copy" \
      --check edited "$copy" \
      -- "$autoxen" image edit --no-sync -f "$input/autoxen" "$copy"
  else
    absent "private_$size" "$size: autoxen image edit --no-sync" 'the program does not know --no-sync yet'
  fi
  contest "in_place_$size" "$size: autoxen image edit" --ours --copy "$image" "$copy" --check edited "$copy" \
    -- "$autoxen" image edit -f "$input/autoxen" "$copy"
  if make_floor "$size"; then
    contest "floor_$size" "$size: as many writes and syncs" --copy "$image" "$copy" \
      -- "$work/floor" "$work/$size.writes" "$copy"
  else
    absent "floor_$size" "$size: as many writes and syncs" 'rustc or strace is not installed'
  fi
}
sizes=(64M 2G 32G 1T)
for size in "${sizes[@]}"; do edit_of_size "$size"; done
race
for size in "${sizes[@]}"; do
  value "private_blocks_$size" "$(changed_blocks "$size" --no-sync)"
  value "in_place_blocks_$size" "$(changed_blocks "$size")"
  ! blocks=$(written_blocks "$size") || value "in_place_writes_$size" "$blocks"
done
for size in "${sizes[@]}"; do
  target "$size: edit of a private copy, against debugfs" "wall:private_$size / wall:debugfs_$size" '<=' 0.6 x
  target "$size: edit in place, journaled and synced, against debugfs" \
    "wall:in_place_$size / wall:debugfs_$size" '<=' 1.0 x
  target "$size: edit in place, against as many writes and syncs" "wall:in_place_$size / wall:floor_$size" '<=' 1.5 x
done
target 'edit of a private copy, 1 TiB against 64 MiB' 'wall:private_1T / wall:private_64M' '<=' 1.2 x
target 'edit in place, 1 TiB against 64 MiB' 'wall:in_place_1T / wall:in_place_64M' '<=' 1.2 x
for size in "${sizes[@]}"; do
  target "$size: private memory of an edit of a private copy" "private:private_$size" '<=' 8388608 MiB
  target "$size: private memory of an edit in place" "private:in_place_$size" '<=' 8388608 MiB
done
for size in "${sizes[@]}"; do
  target "$size: bytes written to a private copy, against the blocks that must change" \
    "written:private_$size / value:private_blocks_$size / 4096" '<=' 2 x
  target "$size: blocks written in place, each time it is written, against those that must change" \
    "value:in_place_writes_$size / value:in_place_blocks_$size" '<=' 2 x
done
