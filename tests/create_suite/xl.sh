#!/bin/sh
# Stands in for xl(1) where there is no Xen. xl's own parser, `xlread` beside it, reads each configuration; the domains are
# lines of the file `domains`: UUID NAME. What it was started with is kept in `env`, `pwd`, `umask`, `arguments`.
set -eu
here=$(dirname "$0")
touch "$here/domains"
env > "$here/env"
pwd > "$here/pwd"
umask > "$here/umask"
ulimit -f > "$here/fsize"
grep -E '^Sig(Ign|Blk)' /proc/self/status > "$here/signals"
cat /proc/self/limits > "$here/limits"
cut -d ' ' -f 19 /proc/self/stat > "$here/nice"
printf '%s\n' "$@" > "$here/arguments"
case $1 in
  create)
    cp "$2" "$here/last.cfg"
    "$here/xlread" "$2" > "$here/parsed" || { echo "Parsing config failed" >&2; exit 1; }
    if grep -q ^error "$here/parsed"; then echo "libxl: error: the configuration is wrong" >&2; exit 1; fi
    uuid=$(sed -n 's/^uuid = "\(.*\)"$/\1/p' "$2")
    name=$(sed -n 's/^name = "\(.*\)"$/\1/p' "$2")
    if [ -e "$here/refuses" ]; then echo "libxl: error: libxl_create.c:1: no memory" >&2; exit 3; fi
    # A guest that does its work and goes.
    if [ -x "$here/guest" ]; then "$here/guest" "${2%/*}/files"; exit 0; fi
    printf '%s %s\n' "$uuid" "$name" >> "$here/domains"
    # It has made the domain, and fails then.
    if [ -e "$here/dies" ]; then kill -KILL $$; fi
    # The xl that stays.
    if [ -e "$here/stays" ]; then (while [ -e "$here/stays" ]; do sleep 0.1; done) < /dev/null > /dev/null 2>&1 & fi
    ;;
  list)
    printf '%-40s %5s %5s %5s\t%5s\t%8s   %-36s %s\t%s\n' Name ID Mem VCPUs State 'Time(s)' UUID Reason-Code 'Security Label'
    printf '%-40s %5s %5s %5s     r-----  %8s %s        -                -\n' Domain-0 0 1024 1 10.6 00000000-0000-0000-0000-000000000000
    id=0
    while read -r uuid name; do
      id=$((id + 1))
      printf '%-40s %5s %5s %5s     -b----  %8s %s        -                -\n' "$name" "$id" 64 1 0.1 "$uuid"
    done < "$here/domains"
    ;;
  destroy)
    sed -i "${2}d" "$here/domains"
    ;;
  *) exit 2 ;;
esac
