# shellcheck shell=bash
# Bundles in the Xen lab; sourced by the scripts of this directory, which set $project.
# shellcheck disable=SC2154

die() { printf '%s: %s\n' "${0##*/}" "$1" >&2; exit 1; }

autoxen() { "$project/target/release/autoxen" "$@"; }

# Start the domain of a bundle and wait for its end; the log gets the guest's console.
boot() { # BUNDLE LOG SECONDS
  local bundle=$1 log=$2 status=0
  printf 'booting %s, console in %s\n' "$bundle" "$log"
  "$project/tests/xen/launch" --limit "$3" "$bundle" || status=$?
  mv "$bundle.console" "$log" || status=1
  if [ $status != 0 ]; then
    tail -40 "$log" >&2
    die "the lab ended with status $status"
  fi
}

# The log has this text, at the end of a line (a serial console puts more before it, and a carriage return after it).
expect() { # LOG TEXT
  tr -d '\r' < "$1" | awk -v text="$2" '
    substr($0, length($0) - length(text) + 1) == text { found = 1 } END { exit !found }' ||
    die "the console does not say: $2"
  printf 'on the console: %s\n' "$2"
}
