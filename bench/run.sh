#!/bin/bash
# run.sh - `make bench`: measure a cluster on loopback, each figure beside a limit that
# is measured in the same run and beside Spark's figure for the same work (Spark 4.3,
# its best of local[2], cluster and, for the word count, RDDs and SQL, on a like machine).
#
#   BYTES=1G     size of each text; the rows of the other inputs go with it: 64M for a quick pass
#   TASKS=1000000  no-op tasks
#   RUNS=3       runs of each; the median counts
#   ONLY=sort,join  only these workloads, and none of the small figures
#
# Prints the figures and writes $B/bench.json.  Inputs are made once, in $B/bench/inputs; blocks lie in /dev/shm,
# all other files in $B/bench/run, and are removed.  Fails when a result is wrong.
set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C
cd "$(dirname "$0")/.."
B=$(realpath "${B:-build}")
BYTES=$(numfmt --from=iec "${BYTES:-1G}")
TASKS=${TASKS:-1000000} RUNS=${RUNS:-3} ONLY=${ONLY:-}
SEED=1 LATENCY_JOBS=200
# What a first result takes: ferro, manager, executor, driver and a host; with the cluster running only ferro.
SPAWNS_LOCAL=5 SPAWNS_CLUSTER=1
bin=$B/bin bench=$B/bench data=$B/bench/inputs run=$B/bench/run blocks=

pids=()
stop()
{
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        kill "${pids[i]}" 2>/dev/null || true
        wait "${pids[i]}" 2>/dev/null || true
    done
    pids=()
    rm -rf "$run" ${blocks:+"$blocks"}
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

# figure NAME VALUE UNIT LIMIT SPARK [PEER]: SPARK is empty where it has no such figure; PEER is the best other.
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
        words=", $(printf %.1f "$spark") times better than Spark ($5)${6:+; $6}"
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
    mkdir -p "$run/state"
    blocks=$(mktemp -d /dev/shm/ferro-bench-XXXXXX)
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
        --dir "$blocks" --disk "$run" --read "$data" --write "$run" 2>"$run/executor.log" &
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

# ---- workloads -------------------------------------------------------------------
# anonymous PID...: bytes that these processes have to themselves
anonymous()
{
    local pid
    for pid; do
        awk '/^Anonymous:/ { print $2 * 1024 }' "/proc/$pid/smaps_rollup" 2>/dev/null || true
    done
}
children() { cat "/proc/$1"/task/*/children 2>/dev/null || true; }

# watch_memory FILE: keep the most that the executor, its hosts and a job's driver have had, blocks in memory included,
# and the most of one host
watch_memory()
{
    local most=0 most_host=0 host now pid
    while sleep 0.1; do
        host=0
        for pid in $(children "$executor_pid"); do
            now=$(anonymous "$pid")
            [ "${now:-0}" -le "$host" ] || host=$now
        done
        # shellcheck disable=SC2046 # words are wanted
        now=$({ anonymous "$executor_pid" $(children "$executor_pid") $(cat "$run/job.pid" 2>/dev/null)
            du -s -B1 "$blocks" | cut -f 1; } | awk '{ n += $1 } END { printf "%.0f", n }')
        [ "$now" -le "$most" ] || most=$now
        [ "$host" -le "$most_host" ] || most_host=$host
        echo "$((most >> 20)) $((most_host >> 20))" >"$1"
    done
}

# input KIND SIZE [MORE]: make it once, with the newest program, and have it in the page cache; prints its path
input()
{
    local path=$data/$1-$2
    [ "$path" -nt "$bench/data" ] || { "$bench/data" "$1" "$2" $SEED "${@:3}" >"$path.new" && mv "$path.new" "$path"; }
    cat "$path" >/dev/null
    echo "$path"
}

same() { cmp "$1" "$2"; }
# close_to A B: the same words, but numbers may differ by 1e-9 of themselves
close_to()
{
    paste -d ' ' "$1" "$2" | tr '\t' ' ' | awk '
        function off(a, b) { d = a - b; m = a < 0 ? -a : a; return a != b && (d < 0 ? -d : d) > 1e-9 * (m > 1 ? m : 1) }
        { if (NF % 2) exit bad = 1; for (i = 1; i <= NF / 2; i++) if (off($i, $(i + NF / 2))) exit bad = 1 }
        END { exit bad }'
}

# workload NAME COMPARE SPARK_SECONDS PEER JOB REF ARGUMENT...: reference (two threads) and job in turns, outputs compared;
# SPARK_SECONDS and PEER are of the whole size.  The seconds of a job are those of `ferro submit` as a whole.
workload()
{
    local name=$1 compare=$2 spark=$3 peer=$4 job=$5 ref=$6 start refs='' jobs='' watcher most host
    shift 6
    [[ -z $ONLY || ,$ONLY, == *,${name%%_*},* ]] || return 0
    "$bin/ferro" cc "$job" -o "$run/$name.so"
    watch_memory "$run/peak" &
    watcher=$!
    pids+=("$watcher")
    for _ in $(seq "$RUNS"); do
        start=$(now_ms)
        "$bench/$ref" "$@" "$run/expected" 2
        refs+="$(calc "($(now_ms) - $start) / 1000")"$'\n'
        start=$(now_ms)
        submit "$run/$name.so" "$@" "$run/out" &
        echo $! >"$run/job.pid"
        wait $!
        jobs+="$(calc "($(now_ms) - $start) / 1000")"$'\n'
        rm "$run/job.pid"
        cat "$run"/out/part-* >"$run/result"
        "$compare" "$run/result" "$run/expected" || die "$name: the output differs from the reference's"
        rm -r "$run/out" "$run/expected" "$run/result"
    done
    kill "$watcher"
    wait "$watcher" 2>/dev/null || true
    unset 'pids[-1]'
    [ "$BYTES" -eq $((1 << 30)) ] || spark='' peer=''
    figure "$name" "$(printf %s "$jobs" | median)" s "$(printf %s "$refs" | median)" "$spark" "$peer"
    read -r most host <"$run/peak"
    echo "  $most MiB at most in all processes and blocks, $host MiB in one task host"
    records[-1]=${records[-1]%\}},\ \"peak_mib\":\ $most,\ \"peak_host_mib\":\ $host\}
    rm -f "$run/peak"
}

workloads()
{
    local text left right graph kind
    rows() { echo $(($1 * BYTES / (1 << 30))); }
    text=$(input text-zipf "$BYTES")
    workload wordcount_zipf same 32 'DuckDB 7.7 s' examples/wordcount.c wordcount "$text"
    text=$(input text-distinct "$BYTES")
    workload wordcount_distinct same 91 'DuckDB 24 s' examples/wordcount.c wordcount "$text"
    workload sort same 26 'Thrill 6.4 s' bench/jobs/sort.c sort "$(input records "$(rows 10000000)")"
    workload groupby same 15 'Polars 2.9 s' bench/jobs/groupby.c groupby "$(input csv "$(rows 50000000)")"
    right=$(input join-right "$(rows 5000000)")
    for kind in uniform zipf; do
        left=$(input join-left-$kind "$(rows 50000000)" "$(rows 5000000)")
        workload join_$kind same 127 'DuckDB 6.3 s' bench/jobs/join.c join "$left" "$right"
    done
    for kind in uniform skewed; do
        graph=$(input graph-$kind "$(rows 5000000)")
        workload pagerank_$kind close_to 175 'Thrill 5.5 s' bench/jobs/pagerank.c pagerank "$graph" "$(rows 1000000)" 10
    done
    workload kmeans close_to 17 'Thrill 3.3 s' bench/jobs/kmeans.c kmeans "$(input points "$(rows 5000000)")" 16 10
}

known=' wordcount sort groupby join pagerank kmeans '
for name in ${ONLY//,/ }; do
    [[ $known == *" $name "* ]] || die "ONLY=$ONLY: no workload is called $name; there are$known"
done
[[ $RUNS =~ ^[1-9][0-9]*$ ]] || die "RUNS=$RUNS: it is a number from 1"
[[ $TASKS =~ ^[1-9][0-9]{3,}$ ]] || die "TASKS=$TASKS: it is a number from 1000"
[ "$BYTES" -ge $((1 << 20)) ] || die "BYTES=$BYTES: at least 1M"
mkdir -p "$data"
echo "$machine"
[ "$BYTES" -ge $((1 << 28)) ] || echo "small inputs: much of the workloads' time is their start"
echo "figure                              value unit    of the limit: for rates more is better, for times and memory less"
start_cluster
measure_limits
for job in noop latency; do
    "$bin/ferro" cc "bench/jobs/$job.c" -o "$run/$job.so"
done
if [ -z "$ONLY" ]; then
    measure_memory
    measure_start
    measure_latency
    measure_noop
fi
workloads
write_json
echo "written: ${B#"$PWD"/}/bench.json"
