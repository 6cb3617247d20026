#!/bin/sh
# Runs the jobs of this machine: each executable in /etc/xenjobs.d once, in the order of their names. What becomes of
# them goes to the console and to the results disk; then the machine is powered off.
#
# /etc/autoxen/run.conf and /etc/autoxen/jobs/NAME.conf are lines of a word and a value. They are data, and never run.
#
# It is written for any sh (ash, bash from 2.05 on, dash), and for machines that have little beside one: what may be
# missing is asked for, and done without.

PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
# Sorted, and compared, by bytes.
LC_ALL=C
export LC_ALL
umask 022

jobs=/etc/xenjobs.d
settings=/etc/autoxen
state=/var/lib/autoxen
disk=$state/results

have() { command -v "$1" > /dev/null 2>&1; }

say() { printf 'autoxen: %s\n' "$*"; }

# Seconds since the start of the machine: a clock that nobody sets.
uptime_now() {
    if read -r up _ 2> /dev/null < /proc/uptime; then
        printf '%s\n' "${up%%.*}"
    else
        date +%s
    fi
}

# Sleep until uptime_now is $1. It wakes each second, so that nothing stays behind for long when it is ended.
sleep_until() {
    while [ "$(uptime_now)" -lt "$1" ]; do sleep 1; done
}

read_run() {
    id=none label='' device='' whendone=poweroff limit=''
    [ -r "$settings/run.conf" ] || return 0
    while read -r word value; do
        case $word in
            id) id=$value ;;
            results) label=$value ;;
            device) device=$value ;;
            whendone) whendone=$value ;;
            limit) limit=$value ;;
        esac
    done < "$settings/run.conf"
}

read_job() { # NAME
    user='' timeout='' onfailure=continue again=no outputs=''
    [ -r "$settings/jobs/$1.conf" ] || return 0
    while read -r word value; do
        case $word in
            user) user=$value ;;
            timeout) timeout=$value ;;
            onfailure) onfailure=$value ;;
            again) again=$value ;;
            output) outputs="$outputs$value
" ;;
        esac
    done < "$settings/jobs/$1.conf"
}

# A directory of our own that does not outlive this start of the machine: two hooks may call us, and the second one is to
# find it there. Without any writable place there is none, and $work is empty.
take_lock() {
    boot=boot
    { read -r boot < /proc/sys/kernel/random/boot_id; } 2> /dev/null
    work=''
    for place in /run /var/run /dev/shm "$state"; do
        [ "$place" != "$state" ] || mkdir -p "$place" 2> /dev/null
        [ -d "$place" ] || continue
        [ ! -d "$place/autoxen-$boot" ] || return 1
        if mkdir -m 700 "$place/autoxen-$boot" 2> /dev/null; then
            work=$place/autoxen-$boot
            return 0
        fi
    done
    return 0
}

# The label of the ext file system on $1: 16 bytes behind byte 1144.
label_of() {
    dd if="$1" bs=8 skip=143 count=2 2> /dev/null | tr -d '\000'
}

# Mount the results disk, wherever the guest has it. Its device may come late.
mount_results() {
    [ -n "$label" ] || return 1
    mkdir -p "$disk" 2> /dev/null
    if [ ! -d "$disk" ]; then
        say "no directory $disk: results go to the console alone"
        return 1
    fi
    tries=0
    while [ "$tries" -lt 15 ]; do
        for node in "/dev/$device" /dev/xvd* /dev/hd* /dev/sd* /dev/vd*; do
            [ -b "$node" ] || continue
            [ "$(label_of "$node")" = "$label" ] || continue
            for type in ext3 ext4 auto; do
                mount -t "$type" -o nosuid,nodev,noexec "$node" "$disk" 2> /dev/null && return 0
            done
        done
        # A container or a test may have put a directory there.
        [ ! -f "$disk/.autoxen-results" ] || return 0
        tries=$((tries + 1))
        sleep 1
    done
    say "the results disk $label cannot be mounted: results go to the console alone"
    return 1
}

# Replace the file $1 by the text $2, at once and for good. On a full disk the reserve makes room.
put() {
    put_once "$1" "$2" && return 0
    full=true
    rm -f "$disk/.reserve"
    put_once "$1" "$2"
}

put_once() {
    if printf '%s\n' "$2" > "$1.new" 2> /dev/null && [ "$(cat "$1.new" 2> /dev/null)" = "$2" ]; then
        mv -f "$1.new" "$1" && sync && return 0
    fi
    rm -f "$1.new"
    return 1
}

# $1 as a string of JSON. It has no control characters.
quoted() {
    printf '"%s"' "$(printf '%s\n' "$1" | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g')"
}

put_run() { # END FINISHED REASON
    [ "$results" = yes ] || return 0
    put "$disk/run.json" "{\"format\":1,\"id\":\"$id\",\"start\":$run_start,\"end\":$1,\"finished\":$2,\"reason\":$3}"
}

put_job() { # END EXIT SIGNAL TIMED_OUT FINISHED
    [ "$results" = yes ] || return 0
    put "$disk/$name/job.json" "{\"format\":1,\"name\":\"$name\",\"command\":\"$jobs/$name\",\"user\":$(quoted "${user:-root}"),\"start\":$start,\"end\":$1,\"exit\":$2,\"signal\":$3,\"timed_out\":$4,\"finished\":$5,\"full\":$full,\"missing\":[$missing]}"
}

# The processes of the job $1 whose first one is $2: its descendants, its session, and those that carry its name.
processes_of() {
    found=" $2 "
    grown=yes
    while [ "$grown" = yes ]; do
        grown=no
        for stat in /proc/[0-9]*/stat; do
            { read -r line < "$stat"; } 2> /dev/null || continue
            number=${stat#/proc/}
            number=${number%/stat}
            case $found in *" $number "*) continue ;; esac
            # pid (name) state ppid pgrp session …: the name may hold anything.
            # shellcheck disable=SC2086 # fields
            set -- "$1" "$2" ${line##*) }
            # Threads of the kernel are nobody's.
            [ "$4" = 2 ] && continue
            case $found in
                *" $4 "*) ;;
                *)
                    if [ "$6" != "$2" ]; then
                        tr '\000' '\n' 2> /dev/null < "/proc/$number/environ" |
                            grep "^AUTOXEN_JOB=$1\$" > /dev/null 2>&1 || continue
                    fi
                    ;;
            esac
            [ "$3" = Z ] && continue
            found="$found$number "
            grown=yes
        done
    done
    for number in $found; do
        [ -d "/proc/$number" ] && printf '%s\n' "$number"
    done
}

# End all processes of the job $1, whose first one is $2: politely, and then not.
stop_job() {
    for signal in TERM KILL; do
        tries=0
        while [ "$tries" -lt 5 ]; do
            alive=''
            for number in $(processes_of "$1" "$2"); do
                { read -r line < "/proc/$number/stat"; } 2> /dev/null || continue
                line=${line##*) }
                [ "${line%% *}" = Z ] && continue
                alive=yes
                if [ "$tries" = 0 ] || [ "$signal" = KILL ]; then kill -s "$signal" "$number" 2> /dev/null; fi
            done
            [ -n "$alive" ] || return 0
            tries=$((tries + 1))
            sleep 1
        done
    done
}

knows_user() {
    if have id; then id "$1" > /dev/null 2>&1; else grep "^$1:" /etc/passwd > /dev/null 2>&1; fi
}

# The environment of $user, where no program sets it.
at_home() {
    HOME=$(sed -n "s/^$user:[^:]*:[^:]*:[^:]*:[^:]*:\([^:]*\):.*/\1/p" /etc/passwd)
    USER=$user LOGNAME=$user
}

# Become the job. Called in a shell of its own.
become() {
    cd / || exit 126
    unset LC_ALL
    AUTOXEN_JOB=$name HOME=/root USER=root LOGNAME=root SHELL=/bin/sh
    export AUTOXEN_JOB HOME USER LOGNAME SHELL
    session=''
    have setsid && session=setsid
    if [ -z "$user" ]; then
        exec $session "$jobs/$name"
    elif ! knows_user "$user"; then
        printf 'autoxen: the guest has no user %s\n' "$user" >&2
    elif have su; then
        exec $session su -s /bin/sh "$user" -c "exec $jobs/$name"
    elif have setpriv; then
        at_home
        exec $session setpriv --reuid "$user" --regid "$user" --init-groups "$jobs/$name"
    elif have chpst; then
        at_home
        exec $session chpst -u "$user" "$jobs/$name"
    else
        printf 'autoxen: no program of the guest runs a job as %s: su, setpriv, chpst\n' "$user" >&2
    fi
    exit 126
}

# Copy what the job staged out.
stage_out() {
    rest=$outputs
    while [ -n "$rest" ]; do
        pattern=${rest%%
*}
        rest=${rest#*
}
        matched=no
        # A pattern is one word, blanks and all.
        IFS=''
        # shellcheck disable=SC2086 # a pattern
        set -- $pattern
        unset IFS
        for path; do
            [ -e "$path" ] || [ -L "$path" ] || continue
            case $disk/ in "$path"/*) say "$path holds the results disk itself: left out"; continue ;; esac
            case $path in "$disk"/*) continue ;; esac
            matched=yes
            above=$disk/$name/outputs${path%/*}
            if mkdir -p "$above" 2> /dev/null && copy_out "$path" "$above/"; then
                continue
            fi
            full=true
            say "$path: not copied as a whole"
        done
        if [ "$matched" = no ]; then
            missing="$missing${missing:+,}$(quoted "$pattern")"
            say "$pattern: there is no such output"
        fi
    done
}

copy_out() {
    cp -dpR "$1" "$2" 2> /dev/null && return 0
    # Not every cp knows -d.
    cp -pR "$1" "$2"
}

# Run the job $name; its exit status is $status.
run_job() {
    full=false missing='' start=$(date +%s)
    marks="$state/ran/$id"
    mkdir -p "$marks" 2> /dev/null && : > "$marks/$name"
    where=''
    if [ "$results" = yes ]; then
        mkdir -p "$disk/$name" 2> /dev/null && where=$disk/$name
        put_job null null null false false
    fi
    sync
    say "job $name"
    out='' err=''
    if [ -n "$where" ] && [ -n "$work" ] && have mkfifo && have tee; then
        rm -f "$work/out" "$work/err"
        if mkfifo "$work/out" "$work/err"; then
            tee "$where/stdout" < "$work/out" &
            out=$!
            tee "$where/stderr" < "$work/err" >&2 &
            err=$!
        fi
    fi
    if [ -n "$out" ]; then
        ( become ) > "$work/out" 2> "$work/err" < /dev/null &
    elif [ -n "$where" ]; then
        ( become ) > "$where/stdout" 2> "$where/stderr" < /dev/null &
    else
        ( become ) < /dev/null &
    fi
    job=$!
    watch=''
    if [ -n "$work" ]; then
        rm -f "$work/timed-out"
        printf '%s %s\n' "$name" "$job" > "$work/job"
        if [ -n "$timeout" ]; then
            (
                sleep_until "$(($(uptime_now) + timeout))"
                : > "$work/timed-out"
                stop_job "$name" "$job"
            ) > /dev/null 2>&1 < /dev/null &
            watch=$!
        fi
    fi
    wait "$job"
    status=$?
    timed_out=false
    if [ -n "$work" ]; then
        rm -f "$work/job"
        if [ -f "$work/timed-out" ] || [ -f "$work/limit" ]; then
            timed_out=true
            status=124
            # What the job has left behind goes, too.
            [ -z "$watch" ] || wait "$watch" 2> /dev/null
            watch=''
        fi
    fi
    [ -z "$watch" ] || kill "$watch" 2> /dev/null
    if [ -n "$out" ]; then
        # What the job has left running may hold its ends for ever.
        ( sleep 3; kill "$out" "$err" ) > /dev/null 2>&1 < /dev/null &
        patience=$!
        wait "$out"
        [ $? != 1 ] || full=true
        wait "$err"
        [ $? != 1 ] || full=true
        kill "$patience" 2> /dev/null
    elif [ -n "$where" ]; then
        cat "$where/stdout"
        cat "$where/stderr" >&2
    fi
    exit_status=$status signal=null words="exit=$status"
    if [ "$timed_out" = true ]; then
        words="$words timed-out"
    elif [ "$status" -gt 128 ] && [ "$status" -lt 193 ]; then
        # What sh says of a signal; a job that exits so by itself is taken for one.
        signal=$((status - 128)) exit_status=null
        words="$words signal=$signal"
    fi
    [ -z "$where" ] || stage_out
    put_job "$(date +%s)" "$exit_status" "$signal" "$timed_out" true
    [ "$full" = false ] || any_full=true
    printf 'AUTOXEN-RESULT job=%s %s\n' "$name" "$words"
}

# Run what is to be run. In a shell of its own, so that a job which kills it does not keep the machine up.
work_through() {
    total=0 reason=null any_full=false
    for script in "$jobs"/*; do
        name=${script##*/}
        # The names that run-parts takes.
        case $name in *[!A-Za-z0-9_-]*) continue ;; esac
        if [ ! -f "$script" ] || [ ! -x "$script" ]; then continue; fi
        read_job "$name"
        if [ "$again" != yes ] && { [ -e "$state/ran/$id/$name" ] || [ -e "$disk/$name/job.json" ]; }; then
            continue
        fi
        [ -z "$work" ] || : > "$work/ran"
        run_job
        if [ "$status" != 0 ]; then
            [ "$total" != 0 ] || total=$status
        fi
        if [ -n "$work" ] && [ -f "$work/limit" ]; then
            reason='"limit"'
            break
        fi
        if [ "$status" != 0 ] && [ "$onfailure" = stop ]; then
            reason='"failed job"'
            say "job $name failed: those behind it do not run"
            break
        fi
    done
    if [ "$reason" = null ] && [ "$any_full" = true ]; then reason='"disk full"'; fi
    if [ -z "$work" ] || [ -f "$work/ran" ]; then put_run "$(date +%s)" true "$reason"; fi
    printf 'AUTOXEN-RESULT exit=%s\n' "$total"
}

by_force() {
    sync
    poweroff -f 2> /dev/null || halt -f -p 2> /dev/null || busybox poweroff -f 2> /dev/null ||
        { echo 1 > /proc/sys/kernel/sysrq; echo o > /proc/sysrq-trigger; } 2> /dev/null
}

# Power off, or with $1 = reboot start again.
end_machine() {
    sync
    # An init that does not get there is helped.
    ( sleep 120; by_force ) > /dev/null 2>&1 < /dev/null &
    if [ "$1" = reboot ]; then
        reboot || shutdown -r now || busybox reboot || by_force
    else
        poweroff || shutdown -h now || halt -p || busybox poweroff || by_force
    fi
}

# At the limit the job is ended, then the machine; what hangs is not waited for.
watch_limit() {
    sleep_until "$1"
    if [ -n "$work" ]; then
        : > "$work/limit"
        if { read -r name job < "$work/job"; } 2> /dev/null; then stop_job "$name" "$job"; fi
        # The runner has time to write what became of the job.
        sleep 30
    fi
    end_machine poweroff
    sleep 60
    by_force
}

finish() {
    trap '' 1 2 15
    trap - 0
    [ -z "$syncs" ] || kill "$syncs" 2> /dev/null
    if [ "$results" = yes ]; then
        rm -f "$disk/.reserve"
        sync
        umount "$disk" 2> /dev/null || mount -o remount,ro "$disk" 2> /dev/null
    fi
    # At its limit the machine goes, whatever was to become of it.
    [ ! -f "$work/limit" ] || whendone=poweroff
    case $whendone in
        keep) ;;
        reboot)
            # Once: not where no job ran, nor where the next start would not know that it did.
            if [ ! -f "$work/ran" ] || [ ! -d "$state/ran/$id" ]; then
                whendone=keep
            else
                end_machine reboot
            fi
            ;;
        *) end_machine poweroff ;;
    esac
    [ "$whendone" = keep ] || exit 0
    # A machine that stays keeps its limit. systemd would end what we leave behind.
    if [ -n "$limits" ] && [ -d /run/systemd/system ]; then wait "$limits"; fi
    exit 0
}

[ -r /proc/self/stat ] || mount -t proc proc /proc 2> /dev/null
read_run
syncs='' limits='' results=no
if ! take_lock; then
    say "the jobs have been started already"
    exit 0
fi
trap finish 0
trap 'exit 1' 1 2 15
if [ -n "$limit" ]; then
    watch_limit "$(($(uptime_now) + limit))" > /dev/null 2>&1 < /dev/null &
    limits=$!
fi
run_start=$(date +%s)
if mount_results; then
    results=yes
    [ -e "$disk/run.json" ] || put_run null false null
    dd if=/dev/zero of="$disk/.reserve" bs=1024 count=64 2> /dev/null
    (
        # Nothing that a job has written is older than this when the machine is destroyed.
        while :; do
            sleep 5
            sync
        done
    ) > /dev/null 2>&1 < /dev/null &
    syncs=$!
fi
( trap - 0 1 2 15; work_through ) &
wait "$!" || say "the runner was ended"
finish
