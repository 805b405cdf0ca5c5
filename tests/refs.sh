#!/bin/bash
# refs.sh - the references of bench/ref against plain commands, on small data, with one thread and with two.
#
# Each case: make data, let awk, sort or python3 say what is right, compare byte for byte (floats within 1e-9).
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C

B=$(realpath "${B:-build}")
work=$B/refs-test
rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 skipped=0

# data FILE KIND SIZE [RIGHT]: from seed 7
data() { "$B/bench/data" "$2" "$3" 7 ${4:+"$4"} >"$work/$1"; }

# verdict NAME: counts the last command's success
verdict()
{
    if [ $? -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAIL: $1"
    fi
}

# check NAME PROGRAM INPUT...: the program's output is $work/expected
check()
{
    local name=$1 program=$2 threads
    shift 2
    for threads in 1 2; do
        rm -f "$work/got"
        timeout 60 "$B/bench/$program" "${@/#/$work/}" "$work/got" $threads && cmp "$work/expected" "$work/got"
        verdict "$program, $name, $threads threads"
    done
}

# same A B: equal line by line and field by field, numbers within 1e-9
same()
{
    [ -s "$1" ] && [ "$(wc -l <"$1")" -eq "$(wc -l <"$2")" ] && paste -d '\n' "$1" "$2" | awk '
        NR % 2 { n = split($0, want); next }
        { if (NF != n) exit 1
          for (i = 1; i <= n; i++) {
              d = $i - want[i]; m = want[i] < 0 ? -want[i] : want[i]
              if ($i "" != want[i] "" && (d < 0 ? -d : d) > 1e-9 * m) exit 1
          } }'
}

# near NAME PROGRAM ARGUMENT...: as check, but the arguments as they are, and numbers by same
near()
{
    local name=$1 program=$2 threads
    shift 2
    for threads in 1 2; do
        rm -f "$work/got"
        timeout 60 "$B/bench/$program" "$@" "$work/got" $threads && same "$work/expected" "$work/got"
        verdict "$program, $name, $threads threads"
    done
}

# refuses PROGRAM STATUS ARGUMENT...: ends so, with words on stderr
refuses()
{
    local program=$1 status=$2 words
    shift 2
    words=$(timeout 60 "$B/bench/$program" "$@" 2>&1 >/dev/null)
    [ $? -eq "$status" ] && [ -n "$words" ]
    verdict "$program $*: status $status and words"
}

# ---- word count ----------------------------------------------------------------
# count_words FILE
count_words()
{
    tr -s ' \t\n\v\f\r' '\n' <"$work/$1" | awk 'length { n[$0]++ } END { for (w in n) print w "\t" n[w] }' |
        sort -t $'\t' -k2,2nr -k1,1 >"$work/expected"
}

for kind in text-zipf text-distinct; do
    data text $kind 5000000
    count_words text
    check $kind wordcount text
done
# Words of every length around the sixteen bytes of a slot, all spaces, no newline at the end.
awk 'BEGIN { for (i = 0; i < 6000; i++) { w = ""; for (j = 0; j < i % 41; j++) w = w sprintf("%c", 97 + (j * i) % 3)
    printf "%s%s", w, substr(" \t\n\v\f\r", i % 6 + 1, 1) } printf "end" }' >"$work/text"
count_words text
check "words of 0 to 40 bytes" wordcount text
# One word over two chunks and more, at whose ends others begin.
{ head -c 1048575 /dev/zero | tr '\0' a; echo " b"; head -c 3000000 /dev/zero | tr '\0' c; } >"$work/text"
count_words text
check "words of megabytes" wordcount text
: >"$work/text" && : >"$work/expected"
check "nothing" wordcount text

# ---- sort ----------------------------------------------------------------------
for lines in 200000 20480 1 0; do
    data lines records $lines
    sort "$work/lines" >"$work/expected"
    check "$lines lines" sort lines
done
# Keys of two letters: large buckets, and order far behind the first bytes.
data lines records 50000
sed 's/^.\{10\}/abababab/; s/^\(.*\)\(.\{48\}\)$/\1/; s/$/0123456789012345678901234567890123456789012345678/' "$work/lines" |
    awk '{ print substr($0, 1, 20) substr($0, 21 + NR % 3, 60) sprintf("%019d", NR * 7919 % 50000) }' >"$work/alike"
sort "$work/alike" >"$work/expected"
check "lines alike" sort alike

# ---- group by ------------------------------------------------------------------
# group_by FILE: sums in tenths, so that they are exact
group_by()
{
    awk '{ at = match($0, /;[^;]*$/); k = substr($0, 1, at - 1); v = substr($0, at + 1); sub(/\./, "", v); v += 0
        if (!(k in n) || v < low[k]) low[k] = v
        if (!(k in n) || v > high[k]) high[k] = v
        sum[k] += v; n[k]++ }
        END { for (k in n) printf "%s\t;%.1f;%.6f;%.1f;%d\n", k, low[k] / 10, sum[k] / (10 * n[k]), high[k] / 10, n[k] }' \
        "$work/$1" | sort -t $'\t' -k1,1 | tr -d '\t' >"$work/expected"
}

for rows in 300000 1 0; do
    data rows csv $rows
    group_by rows
    check "$rows rows" groupby rows
done
# Names of every length around the 32 bytes of a slot, every value, many names, no newline at the end.
awk 'BEGIN { for (i = 0; i < 30000; i++) { w = "n"; for (j = 0; j < i % 50; j++) w = w sprintf("%c", 97 + (j * i) % 7)
    printf "%s%s;%.1f", i ? "\n" : "", w, (i % 1999 - 999) / 10 } }' >"$work/rows"
group_by rows
check "names of 1 to 50 bytes" groupby rows
for row in 'a;1' 'a;1.23' 'a;100.0' 'a 1.0' ';-1' 'a;-x.5'; do
    echo "$row" >"$work/row"
    refuses groupby 1 "$work/row" "$work/got" 1
done

# ---- join, PageRank, k-means -----------------------------------------------------
rows() { od -An -v -w16 -t d8 "$1"; }

plain_join()
{
    awk 'NR == FNR { group[$1] = $2; next }
         $1 in group { g = group[$1]; n[g]++; sum[g] += $2 }
         END { for (g in n) printf "%s\t%d\t%.0f\n", g, n[g], sum[g] }' <(rows "$2") <(rows "$1") | sort -n
}

plain_pagerank() # EDGES ITERATIONS
{
    rows "$1" | awk -v iterations="$2" '
        { from[NR] = $1; to[NR] = $2; out[$1]++; rank[$1] = rank[$2] = 1 }
        END {
            for (i = 0; i < iterations; i++) {
                for (v in rank) sum[v] = 0
                for (e = 1; e <= NR; e++) sum[to[e]] += rank[from[e]] / out[from[e]]
                for (v in rank) rank[v] = 0.15 + 0.85 * sum[v]
            }
            for (v in rank) printf "%s\t%.17g\n", v, rank[v]
        }' | sort -n
}

plain_kmeans() # POINTS K ITERATIONS
{
    od -An -v -w64 -t f8 "$1" | awk -v k="$2" -v iterations="$3" '
        function nearest(p,    j, d, x, sum, best, least) {
            for (j = 1; j <= k; j++) {
                sum = 0
                for (d = 1; d <= 8; d++) { x = point[p, d] - centre[j, d]; sum += x * x }
                if (j == 1 || sum < least) { best = j; least = sum }
            }
            return best
        }
        { for (d = 1; d <= 8; d++) { point[NR, d] = $d; if (NR <= k) centre[NR, d] = $d } }
        END {
            for (i = 0; i < iterations; i++) {
                split("", n); split("", sums)
                for (p = 1; p <= NR; p++) {
                    n[j = nearest(p)]++
                    for (d = 1; d <= 8; d++) sums[j, d] += point[p, d]
                }
                for (j in n) for (d = 1; d <= 8; d++) centre[j, d] = sums[j, d] / n[j]
            }
            for (j = 1; j <= k; j++)
                for (d = 1; d <= 8; d++) printf "%.17g%s", centre[j, d], d < 8 ? " " : "\n"
        }'
}

data right join-right 2000
for kind in uniform zipf; do
    data left join-left-$kind 20000 2000
    plain_join "$work/left" "$work/right" >"$work/expected"
    near $kind join "$work/left" "$work/right"
done
for kind in uniform skewed; do
    data edges graph-$kind 5000
    plain_pagerank "$work/edges" 10 >"$work/expected"
    near $kind pagerank "$work/edges" 1000 10
done
# Halves of points are keys and values that lie far apart: groups that are no indexes.
data points points 300
plain_join "$work/points" "$work/points" >"$work/expected"
near "groups far apart" join "$work/points" "$work/points"
data points points 3000
for centres in 5 16 20; do
    plain_kmeans "$work/points" $centres 10 >"$work/expected"
    near "$centres centres" kmeans "$work/points" $centres 10
done
head -c 1000 "$work/points" >"$work/cut"
refuses join 1 "$work/cut" "$work/points" "$work/got"
refuses pagerank 1 "$work/points" 5 1 "$work/got"
refuses kmeans 1 "$work/points" 3001 1 "$work/got"
refuses kmeans 1 "$work/points" 0 1 "$work/got"

# ---- arguments -----------------------------------------------------------------
for program in join pagerank kmeans; do
    refuses $program 2
done
for program in wordcount sort groupby; do
    refuses $program 2
    refuses $program 2 "$work/rows" "$work/got" 3
    refuses $program 1 "$work/none" "$work/got" 1
done
refuses data 2 no-such-kind 1 1
refuses data 2 csv -1 1
refuses data 2 csv 1 1 1

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
