# shellcheck shell=bash
# A contest: what runs against what, in rounds, and what is kept of it for table.py.
#
# A scenario calls `begin`, then `contest` for each program, `race`, and `target` for what it is held against. In each
# round every program has its turn, in the order of the file or, every other round, from the end; so a machine that is
# busy for a while hits them all. hyperfine starts the commands itself, without a shell, and does the timing. A run of
# its own, that is not timed, gives memory and bytes written; its outcome is checked.

# Set by run: where figures go, where images are, where this directory is, rounds.
: "${data:?}" "${work:?}" "${here:?}" "${runs:?}" "${python:?}" "${private:?}"

declare -A names commands befores counted checks kinds loops last failures

begin() { # ID TITLE TEXT
  scenario=$1 dir=$data/$1 ids=() rounds=$runs
  names=() commands=() befores=() counted=() checks=() kinds=() loops=() last=() failures=()
  rm -rf "$dir" && mkdir -p "$dir" || exit 2
  printf '%s\n%s\n' "$2" "$3" > "$dir/text"
  printf '%s\n' "$scenario" >> "$data/order"
  printf '%s: %s\n' "$scenario" "$2" >&2
}

# Words as one that hyperfine splits, and eval, into the same words.
quoted() {
  local all
  printf -v all '%q ' "$@"
  printf '%s' "${all% }"
}

# Options: --ours, --base (ratios are multiples of it), --once (of many seconds), --few (of seconds: in three rounds),
# --loops N (runs a round), --before 'COMMAND' (before each run), --copy IMAGE COPY (the same, a fresh copy),
# --check FUNCTION FILE (says what is wrong).
contest() { # ID NAME [OPTION...] -- COMMAND...
  local id=$1
  names[$id]=$2 kinds[$id]=peer loops[$id]=1 last[$id]=$rounds befores[$id]='' counted[$id]='' checks[$id]=''
  ids+=("$id")
  shift 2
  while [ "$1" != -- ]; do
    case $1 in
      --ours) kinds[$id]=ours; shift ;;
      --base) kinds[$id]=base; shift ;;
      --once) loops[$id]=once; shift ;;
      --few) last[$id]=3; shift ;;
      --loops) loops[$id]=$2; shift 2 ;;
      --before) befores[$id]=$2; shift 2 ;;
      --copy)
        befores[$id]=$(quoted "$here/peers/fresh" "$2" "$3")
        counted[$id]=$(quoted "$python" "$here/pagewise.py" "$2" "$3")
        shift 3
        ;;
      --check) checks[$id]="$2 $(quoted "$3")"; shift 3 ;;
      *) printf 'contest %s: no option %s\n' "$id" "$1" >&2; exit 2 ;;
    esac
  done
  shift
  commands[$id]=$(quoted "$@")
}

# A row that says why it is empty.
absent() { # ID NAME REASON
  names[$1]=$2 kinds[$1]=peer loops[$1]=0 failures[$1]=$3
  ids+=("$1")
}

# A program is in the contest, or its row says that it is not installed.
have() { # ID NAME PROGRAM
  ! command -v "$3" > /dev/null || return 0
  absent "$1" "$2" "$3 is not installed"
  return 1
}

am_root() { [ "$(id -u)" = 0 ]; }

# Whether the program knows a flag of a verb already.
knows() { # FLAG VERB...
  local flag=$1
  shift
  "${autoxen:?}" "$@" --help 2> /dev/null | grep -q -e "^ .*$flag\b"
}

# A time of the contest, a figure of the machine: what is compared in targets beside times.
value() { printf '%s\t%s\n' "$1" "$2" >> "$dir/values.tsv"; } # NAME NUMBER

# EXPRESSION is read by table.py: `wall:ID`, `cpu:ID`, `peak:ID`, `private:ID`, `written:ID`, `value:NAME` and numbers,
# joined by ` / ` and ` * `, from left to right; seconds and bytes.
target() { # TEXT EXPRESSION <=|>= LIMIT UNIT
  printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" "$5" >> "$dir/targets.tsv"
}

# What stands before a run that is counted: a copy in pages, or what stands before any.
prepare_run() { # ID
  local command=${counted[$1]:-${befores[$1]}}
  [ -z "$command" ] || eval "$command" > /dev/null 2>> "$dir/$1.err"
}

# What a program has said of its failure: the line of the error, or else the last.
reason_of() { # ID
  { grep -m 1 '^error' "$dir/$1.err" || tail -n 1 "$dir/$1.err"; } | tr '\t|' '  ' | cut -c 1-160
}

# GNU time, with what is said of a program beside its time: kilobytes of memory, half kilobytes written.
watched() { # ID
  timed=(/usr/bin/time --quiet -a -o "$dir/$1.figures" -f 'peak_kib=%M written_sectors=%O')
}

# One turn: a JSON file of hyperfine's. Whoever fails once is out.
turn() { # ID ROUND
  local id=$1 count=${loops[$1]} options=() command=${commands[$1]} timed
  [ -z "${befores[$id]}" ] || options+=(--prepare "${befores[$id]}")
  if [ "$count" = once ]; then
    [ "$2" = 1 ] || return 0
    # Its only run tells all; the start of GNU time is nothing beside it.
    watched "$id"
    count=1 command="$(quoted "${timed[@]}") $command"
  elif [ "$count" -gt 1 ]; then
    options+=(--warmup 1)
  fi
  hyperfine -N --style none --runs "$count" "${options[@]}" --export-json "$dir/$id.$2.json" "$command" \
    > /dev/null 2> "$dir/$id.err" && { [ "${loops[$id]}" != once ] || judge "$id"; return; }
  # hyperfine keeps to itself what a program says.
  prepare_run "$id"
  eval "$command" < /dev/null > /dev/null 2> "$dir/$id.err"
  failures[$id]="failed: $(reason_of "$id")"
}

# Whether the outcome of the run before is right.
judge() { # ID
  local id=$1 reason
  [ -n "${checks[$id]}" ] || return 0
  reason=$(eval "${checks[$id]}" 2> /dev/null) || failures[$id]="wrong: $reason"
}

# Memory, bytes written, and whether the outcome is right.
account() { # ID
  local id=$1 timed words
  eval "words=(${commands[$id]})"
  prepare_run "$id"
  watched "$id"
  "${timed[@]}" "${words[@]}" < /dev/null > /dev/null 2> "$dir/$id.err" ||
    { failures[$id]="failed: $(reason_of "$id")"; return; }
  judge "$id"
  [ "$private" = no ] || private_memory "$id" "${words[@]}"
}

figure() { printf '%s=%s\n' "$2" "$3" >> "$dir/$1.figures"; } # ID KEY NUMBER

# The most anonymous memory that one process had: the kernel tells each change of it.
private_memory() { # ID COMMAND...
  local id=$1 most
  shift
  prepare_run "$id"
  perf record -q -c 1 -o "$work/perf.data" -e kmem:rss_stat "$@" > /dev/null 2>&1 || return 0
  most=$(perf script -i "$work/perf.data" -F trace 2> /dev/null |
    sed -n 's/.*MM_ANONPAGES size=\([0-9]*\)B.*/\1/p' | sort -n | tail -n 1)
  [ -z "$most" ] || figure "$id" private_bytes "$most"
}

race() {
  local round id order
  for ((round = 1; round <= rounds; round++)); do
    order=("${ids[@]}")
    [ $((round % 2)) = 1 ] || mapfile -t order < <(printf '%s\n' "${ids[@]}" | tac)
    for id in "${order[@]}"; do
      [ -n "${failures[$id]-}" ] || [ "$round" -gt "${last[$id]}" ] || turn "$id" "$round"
    done
  done
  for id in "${ids[@]}"; do
    [ -n "${failures[$id]-}" ] || [ "${loops[$id]}" = once ] || account "$id"
    printf '%s\t%s\t%s\t%s\n' "$id" "${names[$id]}" "${kinds[$id]}" "${failures[$id]-}" >> "$dir/contestants.tsv"
    [ -z "${failures[$id]-}" ] || printf '  %s: %s\n' "${names[$id]}" "${failures[$id]}" >&2
  done
}
