#!/bin/bash
# peers.sh - `make bench-peers`: DuckDB, Polars and Spark beside the references and Ferro,
# over the same data, two threads each.
#
#   BYTES=1G     size of each text: 64M for a quick pass
#   ROWS=50M     of the CSV and of a join's left side; a fifth of it lines to sort, a tenth the
#                right side's rows, edges and points
#   RUNS=1       runs of each; the median counts
#   WORKS, WHO   some of them only, as WORKS="join_uniform kmeans" WHO="reference duckdb"
#   DATA_DIR     where the data lies or is made (build/bench/inputs)
#
# Prints wall seconds, seconds of CPU time, the peak resident memory of the largest process, and whether the output is the
# reference's; writes $B/bench-peers.json.  Peers that aren't there are named, never installed.  A peer
# gets numbers as Parquet (peers/to_parquet.py), made beforehand.  Fails when an output differs.
set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C
cd "$(dirname "$0")/.."
B=$(realpath "${B:-build}")
BYTES=$(numfmt --from=iec "${BYTES:-1G}") ROWS=$(numfmt --from=si "${ROWS:-50M}")
RUNS=${RUNS:-1} SEED=1 SECONDS_MAX=1800 CENTRES=16 ITERATIONS=10
WORKS=${WORKS:-wordcount_zipf wordcount_distinct sort groupby join_uniform join_zipf pagerank_uniform pagerank_skewed kmeans}
WHO=${WHO:-reference ferro duckdb polars spark}
bench=$B/bench data=${DATA_DIR:-$B/bench/inputs} run=$B/bench/peers-run
stop()
{
    [ -z "$running" ] || kill "$running" 2>/dev/null || true # it ends what it runs
    rm -rf "$run"
}
running=
trap stop EXIT
trap 'exit 130' INT TERM

die() { echo "peers.sh: $*" >&2; exit 1; }
median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# ---- who is there -------------------------------------------------------------
has_module() { python3 -c "import $1" 2>/dev/null; }
find_peers()
{
    local missing=() who here=''
    command -v python3 >/dev/null || die "python3 is missing; peers and the clock need it (apt-get install python3)"
    for who in $WHO; do
        case $who in
        duckdb | polars) has_module "$who" || { missing+=("$who (pip install $who)"); continue; } ;;
        spark) command -v spark-submit >/dev/null ||
            { missing+=("spark (spark-submit on PATH, from https://spark.apache.org/downloads.html)"); continue; } ;;
        esac
        here+=" $who"
    done
    [ ${#missing[@]} -eq 0 ] || (IFS=,; echo "not here: ${missing[*]}")
    peers=$here
}

# ---- data ---------------------------------------------------------------------
# made KIND SIZE [RIGHT]: the name of a file of it
made()
{
    local file=$data/$1-$2
    [ -f "$file" ] || { "$bench/data" "$1" "$2" $SEED ${3:+"$3"} >"$file.new" && mv "$file.new" "$file"; }
    cat "$file" >/dev/null # into the page cache, for all
    echo "$file"
}

# columns KIND FILE: the name of its Parquet; without Polars it can't be made
columns()
{
    [ "$2.parquet" -nt "$2" ] || { has_module polars && python3 bench/peers/to_parquet.py "$1" "$2" "$2.parquet"; } ||
        { echo none; return; }
    cat "$2.parquet" >/dev/null
    echo "$2.parquet"
}

# ---- a run ----------------------------------------------------------------------
job_of() { [ "$1" = wordcount ] && echo examples/wordcount.c || echo "bench/jobs/$1.c"; }

# start WHO PROGRAM OUTPUT: in place of this shell, with the arguments raw[], or theirs[] for peers
start()
{
    local measure=(exec python3 bench/peers/measure.py "$SECONDS_MAX")
    case $1 in
    reference) "${measure[@]}" "$bench/$2" "${raw[@]}" "$3" 2 ;;
    ferro) "${measure[@]}" "$B/bin/ferro" run --quiet --slots 2 "$run/$2.so" "${raw[@]}" "$3" ;;
    duckdb | polars) "${measure[@]}" python3 "bench/peers/with_$1.py" "$2" "$3" "${theirs[@]}" ;;
    spark) "${measure[@]}" spark-submit --master 'local[2]' --driver-memory "${SPARK_MEMORY:-8g}" \
        bench/peers/with_spark.py "$2" "$3" "${theirs[@]}" ;;
    esac
}

# why_not WHO PROGRAM: words when it can't run this
why_not()
{
    case $1 in
    ferro) [ -f "$(job_of "$2")" ] || echo "no $(job_of "$2")" ;;
    duckdb | spark) [[ " ${theirs[*]} " != *" none "* ]] || echo "its Parquet takes Polars to make" ;;
    esac
}

records=() wrong=0
# measure WORK PROGRAM TOLERANCE WHO
measure()
{
    local seconds='' cpus='' most=0 now cpu mb verdict result=$run/result why
    why=$(why_not "$4" "$2")
    [ -z "$why" ] || { printf '%-20s %-10s %s\n' "$1" "$4" "left out: $why"; return 0; }
    [ "$4" != ferro ] || "$B/bin/ferro" cc "$(job_of "$2")" -o "$run/$2.so"
    for _ in $(seq "$RUNS"); do
        rm -rf "$result"
        start "$4" "$2" "$result" >"$run/figures" 2>"$run/words" &
        running=$!
        wait "$running" || rm -rf "$result"
        running=''
        read -r now cpu mb <"$run/figures" || true
        if [ ! -e "$result" ]; then
            printf '%-20s %-10s failed: %s\n' "$1" "$4" "$(grep -v '^ *$' "$run/words" | tail -n 1)"
            wrong=$((wrong + 1))
            return 0
        fi
        seconds+=$now$'\n' cpus+=$cpu$'\n'
        most=$((mb > most ? mb : most))
    done
    [ ! -d "$result" ] || { cat "$result"/[!_]* >"$result.all" && rm -r "$result" && mv "$result.all" "$result"; }
    if [ "$4" = reference ]; then
        mv "$result" "$run/expected"
        verdict=""
    elif cmp -s "$run/expected" "$result" || python3 bench/peers/same.py "$run/expected" "$result" "$3"; then
        verdict=same
    else
        verdict=DIFFERS
        wrong=$((wrong + 1))
    fi
    now=$(printf %s "$seconds" | median) cpu=$(printf %s "$cpus" | median)
    [ "$4" != reference ] || limit=$now
    printf '%-20s %-10s %9.2f s %8.1f x %9.2f s CPU %7d MB  %s\n' "$1" "$4" "$now" "$(awk "BEGIN { print $now / $limit }")" "$cpu" "$most" "$verdict"
    records+=("{\"name\": \"$1\", \"who\": \"$4\", \"seconds\": $now, \"cpu_seconds\": $cpu, \"times_reference\": $(
        awk "BEGIN { printf \"%.3f\", $now / $limit }"), \"peak_mb\": $most, \"same\": $([ "$verdict" = DIFFERS ] && echo false || echo true)}")
}

# compare WORK PROGRAM TOLERANCE: the reference first, by which the others are judged
compare()
{
    local who
    rm -f "$run/expected"
    measure "$1" "$2" "$3" reference
    [ -f "$run/expected" ] || return 0
    for who in $peers; do
        [ "$who" = reference ] || measure "$1" "$2" "$3" "$who"
    done
}

# work NAME: its data, its arguments, and who does it
work()
{
    local file right kind=${1#*_} raw theirs
    case $1 in
    wordcount_*)
        file=$(made "text-$kind" "$BYTES")
        raw=("$file") theirs=("$file")
        compare "$1" wordcount 0
        ;;
    sort | groupby)
        if [ "$1" = sort ]; then file=$(made records $((ROWS / 5))); else file=$(made csv "$ROWS"); fi
        raw=("$file") theirs=("$file")
        compare "$1" "$1" 1e-6 # the mean has six decimals
        ;;
    join_*)
        file=$(made "join-left-$kind" "$ROWS" $((ROWS / 10)))
        right=$(made join-right $((ROWS / 10)))
        raw=("$file" "$right") theirs=("$(columns rows "$file")" "$(columns rows "$right")")
        compare "$1" join 0
        ;;
    pagerank_*)
        file=$(made "graph-$kind" $((ROWS / 10)))
        raw=("$file" $((ROWS / 50)) $ITERATIONS) theirs=("$(columns edges "$file")" "${raw[@]:1}")
        compare "$1" pagerank 1e-9
        ;;
    kmeans)
        file=$(made points $((ROWS / 10)))
        raw=("$file" $CENTRES $ITERATIONS) theirs=("$(columns points "$file")" "${raw[@]:1}")
        compare "$1" kmeans 1e-9
        ;;
    *) die "no work '$1'" ;;
    esac
}

rm -rf "$run"
mkdir -p "$data" "$run"
export XDG_CACHE_HOME=$run/cache
find_peers
for name in $WORKS; do
    work "$name"
done
{
    echo '['
    printf '%s\n' "${records[@]}" | sed '$!s/$/,/; s/^/  /'
    echo ']'
} >"$B/bench-peers.json"
echo "written: ${B#"$PWD"/}/bench-peers.json"
[ "$wrong" -eq 0 ] || die "$wrong outputs are missing or wrong"
