#!/bin/bash
# run.sh - `make bench`: measure a cluster on loopback, each figure beside a limit that
# is measured in the same run and beside Spark's figure for the same work (Spark 4.3,
# its best of local[2], cluster and, for the word count, RDDs and SQL, on a like machine).
#
#   BYTES=1G     size of each text: 64M for a quick pass
#   TASKS=1000000  no-op tasks
#   RUNS=3       runs of each; the median counts
#
# Prints the figures and writes $B/bench.json.  Texts are made once, in $B/bench/texts;
# all other files lie in $B/bench/run and are removed.  Fails when a result is wrong.
set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C
cd "$(dirname "$0")/.."
B=$(realpath "${B:-build}")
BYTES=$(numfmt --from=iec "${BYTES:-1G}")
TASKS=${TASKS:-1000000} RUNS=${RUNS:-3}
SEED=1 LATENCY_JOBS=200
# What a first result takes: ferro, manager, executor, driver and a host; with the cluster running only ferro.
SPAWNS_LOCAL=5 SPAWNS_CLUSTER=1
bin=$B/bin bench=$B/bench texts=$B/bench/texts run=$B/bench/run

pids=()
stop()
{
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        kill "${pids[i]}" 2>/dev/null || true
        wait "${pids[i]}" 2>/dev/null || true
    done
    pids=()
    rm -rf "$run"
}
trap stop EXIT
trap 'exit 130' INT TERM

die() { echo "run.sh: $*" >&2; exit 1; }
now_ms() { echo "${EPOCHREALTIME%.*}${EPOCHREALTIME#*.}" | awk '{ printf "%.3f", $1 / 1000 }'; }
median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
calc() { awk "BEGIN { x = $1; printf(x < 1000 ? \"%.5g\" : \"%.0f\", x) }"; }
# value NAME: from lines of "name value" on stdin
value() { awk -v name="$1" '$1 == name { print $2 }'; }

# ---- figures ----------------------------------------------------------------
machine="$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) CPUs,\
 $(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo),\
 $(. /etc/os-release && echo "$PRETTY_NAME"), Linux $(uname -r)"
records=()

# figure NAME VALUE UNIT LIMIT SPARK: SPARK is empty where it has no such figure.
# A unit that ends in /s is better when it is more; times, and memory, when less.
figure()
{
    local ratio spark='' words=''
    ratio=$(calc "$2 / $4")
    if [ -n "$5" ]; then
        case $3 in
        */s) spark=$(calc "$2 / $5") ;;
        *) spark=$(calc "$5 / $2") ;;
        esac
        words=", $(printf %.1f "$spark") times better than Spark ($5)"
    fi
    printf '%-28s %12s %-7s %7s of the limit (%s)%s\n' "$1" "$2" "$3" "$(printf %.2f "$ratio")" "$4" "$words"
    records+=("{\"name\": \"$1\", \"value\": $2, \"unit\": \"$3\", \"limit\": $4, \"ratio\": $ratio,\
 \"spark\": ${5:-null}, \"times_better\": ${spark:-null}, \"machine\": \"$machine\"}")
}

write_json()
{
    {
        echo '['
        printf '%s\n' "${records[@]}" | sed '$!s/$/,/; s/^/  /'
        echo ']'
    } >"$B/bench.json"
}

# ---- the cluster: manager, driver, one executor of two slots ------------------
await()
{
    local line
    while read -r -t 10 -u 3 line; do
        [[ $line == *"$1"* ]] && { echo "$line"; return; }
    done
    die "no '$1' from the manager within 10 s: $(tail -n 3 "$run/manager.log")"
}

start_cluster()
{
    rm -rf "$run"
    mkdir -p "$run"/{state,blocks}
    export XDG_CACHE_HOME=$run/cache
    "$bin/ferro" keys init "$run/keys"
    mkfifo "$run/events"
    exec 3<>"$run/events"
    "$bin/ferro-manager" --listen 127.0.0.1:0 --keys "$run/keys" --state "$run/state" --events 4 \
        4>"$run/events" 2>"$run/manager.log" &
    manager_pid=$!
    pids+=($!)
    FERRO_MANAGER=$(await '"listening"' | sed 's/.*"address":"\([^"]*\)".*/\1/')
    export FERRO_MANAGER FERRO_KEY=$run/keys/users/user.key
    "$bin/ferro-driver" serve --manager "$FERRO_MANAGER" --key "$run/keys/service.key" --dir "$run" 2>"$run/driver.log" &
    driver_pid=$!
    pids+=($!)
    "$bin/ferro-executor" --manager "$FERRO_MANAGER" --key "$run/keys/join.key" --host bench --slots 2 \
        --dir "$run/blocks" --disk "$run/blocks" --read "$texts" --write "$run" 2>"$run/executor.log" &
    executor_pid=$!
    pids+=($!)
    for _ in driver executor; do
        await '.joined"' >/dev/null
    done
}

# submit JOB ARGUMENT...: its events go to $run/job.events, so that figures can be read from them
submit() { "$bin/ferro" submit --quiet --overwrite --events 5 "$@" 5>"$run/job.events"; }
# job_figure KEY: the number of this name in the last job.ended of the events
job_figure()
{
    grep '"job.ended"' "$run/job.events" | tail -n 1 | grep -o "\"$1\":[0-9]*" | cut -d : -f 2 ||
        die "no '$1' in the driver's event job.ended"
}

resident_mb() { awk '/^VmRSS/ { printf "%.2f", $2 * 1024 / 1e6 }' "/proc/$1/status"; }

# ---- what is measured ---------------------------------------------------------
measure_limits()
{
    "$bench/limit-curve" >"$run/limits"
    "$bench/limit-spawn" $SPAWNS_CLUSTER $SPAWNS_LOCAL >>"$run/limits"
}
limit() { value "$1" <"$run/limits"; }

measure_memory() # at once after the start, before any job
{
    figure idle_manager "$(resident_mb "$manager_pid")" MB "$(limit curve_idle_mb)" 237
    figure idle_executor "$(resident_mb "$executor_pid")" MB "$(limit curve_idle_mb)" 237
    figure idle_driver "$(resident_mb "$driver_pid")" MB "$(limit curve_idle_mb)" 237
}

# first_line COMMAND...: milliseconds from its start to its first line of output
first_line()
{
    local start first
    start=$(now_ms)
    first=$("$@" | { read -r _ && now_ms; cat >/dev/null; })
    calc "$first - $start"
}

measure_start()
{
    local local_ms cluster_ms
    local_ms=$(for _ in $(seq "$RUNS"); do first_line "$bin/ferro" run --quiet "$run/noop.so" 1; echo; done | median)
    cluster_ms=$(for _ in $(seq "$RUNS"); do first_line submit "$run/noop.so" 1; echo; done | median)
    figure start_local "$local_ms" ms "$(limit spawn_${SPAWNS_LOCAL}_ms)" 6400
    figure start_cluster "$cluster_ms" ms "$(limit spawn_${SPAWNS_CLUSTER}_ms)" 14500
}

measure_latency()
{
    local us
    us=$(for _ in $(seq "$RUNS"); do submit "$run/latency.so" $LATENCY_JOBS | value median_us; done | median)
    figure one_task_job "$us" us "$(limit curve_round_trip_us)" 14000
}

# The job itself fails when a failed task was not run again; the driver's count must agree.
measure_noop()
{
    local seconds failed messages rates=''
    for _ in $(seq "$RUNS"); do
        submit "$run/noop.so" "$TASKS" >"$run/noop.out"
        seconds=$(value seconds <"$run/noop.out")
        rates+="$(calc "$TASKS / $seconds")"$'\n'
        failed=$(job_figure failures)
        [ "$failed" -eq "$(value failures <"$run/noop.out")" ] ||
            die "noop: the driver counts $failed failures"
    done
    figure noop_tasks "$(printf %s "$rates" | median)" tasks/s "$(limit curve_messages_s)" 1350
    messages=$(job_figure task_messages)
    echo "  $(calc "$TASKS / $messages") tasks a message; 256 a message pass a bare pair at" \
        "$(limit curve_batched_tasks_s) tasks/s"
}

# watch_hosts FILE: keep the largest resident memory any task host has had
watch_hosts()
{
    local most=0 now pid
    while sleep 0.25; do
        for pid in $(cat "/proc/$executor_pid"/task/*/children); do
            now=$(awk '/^VmHWM/ { print $2 }' "/proc/$pid/status" 2>/dev/null) || continue
            [ "${now:-0}" -le "$most" ] || { most=$now; echo "$most" >"$1"; }
        done
    done
}

# measure_wordcount KIND SPARK_SECONDS_A_GIB: reference and job in turns, outputs compared byte for byte
measure_wordcount()
{
    local text=$texts/$1-$BYTES start refs='' jobs='' mb watcher
    [ "$text" -nt "$bench/data" ] || { "$bench/data" "$1" "$BYTES" $SEED >"$text.new" && mv "$text.new" "$text"; }
    cat "$text" >/dev/null # into the page cache, for both
    watch_hosts "$run/peak" &
    watcher=$!
    pids+=("$watcher")
    for _ in $(seq "$RUNS"); do
        start=$(now_ms)
        "$bench/wordcount" "$text" "$run/expected"
        refs+="$(calc "$(now_ms) - $start")"$'\n'
        start=$(now_ms)
        submit "$run/wordcount.so" "$text" "$run/out"
        jobs+="$(calc "$(now_ms) - $start")"$'\n'
        cat "$run"/out/part-* | cmp - "$run/expected" || die "$1: the output differs from the reference's"
        rm -r "$run/out" "$run/expected"
    done
    kill "$watcher"
    wait "$watcher" 2>/dev/null || true
    unset 'pids[-1]'
    mb=$(calc "$BYTES / 1000")
    figure "wordcount_${1#text-}" "$(calc "$mb / $(printf %s "$jobs" | median)")" MB/s \
        "$(calc "$mb / $(printf %s "$refs" | median)")" "$2"
    [ ! -f "$run/peak" ] || echo "  at most $(($(cat "$run/peak") / 1024)) MiB resident in a task host"
    rm -f "$run/peak"
}

mkdir -p "$texts"
echo "$machine"
start_cluster
measure_limits
measure_memory
for job in bench/jobs/noop.c bench/jobs/latency.c examples/wordcount.c; do
    "$bin/ferro" cc "$job" -o "$run/$(basename "$job" .c).so"
done
measure_start
measure_latency
measure_noop
measure_wordcount text-zipf "$(calc '1073.741824 / 32')"
measure_wordcount text-distinct "$(calc '1180 / 100')"
write_json
echo "written: ${B#"$PWD"/}/bench.json"
