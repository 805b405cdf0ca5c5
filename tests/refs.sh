#!/bin/bash
# refs.sh - the references of bench/ref against plain commands, on small data, with one thread and with two.
#
# Each case: make data, let awk, sort or python3 say what is right, compare byte for byte.
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

# ---- arguments -----------------------------------------------------------------
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
