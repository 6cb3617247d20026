# shellcheck shell=bash disable=SC2016 # shells of their own expand these, and backticks are markdown
begin verify 'Verify a signature, 512 MiB' \
  'Bytes without holes, in the page cache. sha256sum is that of coreutils; openssl uses the instructions that
processors have for it.'
if [ ! -e "$work/dense.manifest.sig" ]; then
  rm -f "$work/key" "$work/key.pub"
  head -c 512M /dev/urandom > "$work/dense" && sync "$work/dense" &&
    ssh-keygen -q -t ed25519 -N '' -C bench -f "$work/key" &&
    printf 'bench %s\n' "$(cat "$work/key.pub")" > "$work/signers" &&
    "$autoxen" sign -q --force "$work/dense" --key "$work/key" > /dev/null || exit 2
fi
verify=("$autoxen" verify "$work/dense" --allowed-signers "$work/signers")
contest sha256sum 'sha256sum' --base -- sha256sum "$work/dense"
have openssl 'openssl' openssl && contest openssl 'openssl dgst -sha256' -- openssl dgst -sha256 "$work/dense"
contest autoxen "autoxen verify, $(nproc) cores" --ours -- "${verify[@]}"
contest one 'autoxen verify, on one core (taskset)' --ours \
  -- taskset -c 0 "${verify[@]}"
race
target 'verify: bytes hashed a second of CPU, against sha256sum' 'cpu:sha256sum / cpu:autoxen' '>=' 0.9 x
target 'verify: bytes hashed a second of CPU, against openssl' 'cpu:openssl / cpu:autoxen' '>=' 0.9 x
target 'verify: bytes hashed a second and core, on all cores, against sha256sum' \
  "wall:sha256sum / wall:autoxen / $(nproc)" '>=' 0.9 x
