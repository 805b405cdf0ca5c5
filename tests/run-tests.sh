#!/bin/bash
# run-tests.sh - run every test and add up what they say.
#
# The parts are the programs unit, sim and cluster in $B/tests, then every other
# executable script here, by name.  PARTS="unit readme" runs only some.  A script
# ends with a line "N passed, M failed, K skipped" and says "skipped: NAME: reason"
# for each skip; so does this one.  Under CI=true a skip counts as a failure.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

SECONDS_UNIT=600 SECONDS_SIM=600 SECONDS_CLUSTER=1200 SECONDS_SCRIPT=1800
SEEDS=2000
B=$(realpath "${B:-build}")
export B
SAN=${SAN:-}
logs=$B/test-logs
reports=$B/asan
rm -rf "$logs" "$reports"
mkdir -p "$logs" "$reports"
if [ -n "$SAN" ]; then
    # A leaking test passes in criterion, which leaks itself: what counts is whether a report was written.
    export ASAN_OPTIONS=log_path=$reports/log:exitcode=0 # leaks are looked for unless a program says otherwise, as ferro-host does
    export UBSAN_OPTIONS=log_path=$reports/log:print_stacktrace=1
fi

passed=0 failed=0 skipped=0
failures=()

# fail PART WORDS: one failure that no test counted itself.
fail()
{
    failed=$((failed + 1))
    failures+=("$1: $2")
}

# count PART LOG: add the part's last line.  Fails when there is none.
count()
{
    local p f k line
    if line=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$2" | tail -n 1) && [ -n "$line" ]; then
        read -r p _ f _ k _ <<<"$line"
    elif line=$(grep -F '[====] Synthesis: ' "$2" | tail -n 1) && [ -n "$line" ]; then
        # "Tested: 3 | Passing: 1 | Failing: 2 | Crashing: 1": what crashed counts as failing too
        read -r p f <<<"$(sed 's/.*Passing: \([0-9]*\) | Failing: \([0-9]*\) .*/\1 \2/' <<<"$line")"
        k=$(grep -c '^\[SKIP\]' "$2")
    else
        return 1
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + k))
    part_failed=$f
    [ "$f" -eq 0 ] || failures+=("$1: $f failed")
}

# sanitized PART: a sanitizer's report is a failure whatever the tests say.
sanitized()
{
    local n report
    for report in "$reports"/log*; do # criterion itself leaks a little: no line of ours is in that
        [ -f "$report" ] && grep -q LeakSanitizer "$report" && ! grep -qE '^ +#[0-9]+ .* in .* [a-z]+/[a-z_/]+\.[ch]:[0-9]+' \
            <(grep -v libsanitizer "$report") && rm "$report"
    done
    n=$(find "$reports" -maxdepth 1 -type f | wc -l)
    [ "$n" -gt 0 ] || return 0
    head -n 40 "$reports"/log*
    mkdir -p "$reports/$1"
    mv "$reports"/log* "$reports/$1"
    fail "$1" "$n sanitizer reports, kept in $reports/$1"
}

# part NAME SECONDS COMMAND...: run it; criterion's lines on quick successes stay in the log
quiet='^\[RUN \]|^\[PASS\].*\(0\.[01]'
part()
{
    local name=$1 limit=$2 log=$logs/$1 began=$SECONDS status part_failed=0
    shift 2
    echo "== $name"
    timeout -k 10 "$limit" "$@" 2>&1 </dev/null | tee "$log" | grep --line-buffered -vE "$quiet"
    status=${PIPESTATUS[0]}
    if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
        fail "$name" "killed after $((SECONDS - began)) s (its limit is $limit s)"
    elif ! count "$name" "$log"; then
        fail "$name" "ended with status $status and without its last line"
    elif [ "$status" -ne 0 ] && [ "$part_failed" -eq 0 ]; then
        fail "$name" "ended with status $status though no test failed"
    fi
    sanitized "$name"
    echo "== $name: $((SECONDS - began)) s"
}

scripts()
{
    local path name
    for path in tests/*.sh; do
        name=$(basename "$path" .sh)
        [ -x "$path" ] && [ "$name" != run-tests ] && echo "$name"
    done
}

run()
{
    case $1 in
    unit) part unit $SECONDS_UNIT "$B/tests/unit" --verbose -j2 ;;
    cluster) part cluster $SECONDS_CLUSTER "$B/tests/cluster" --verbose -j1 ;;
    sim) part sim $SECONDS_SIM "$B/tests/sim" --seeds $SEEDS --seeds-file tests/sim/seeds.txt
        part plants $SECONDS_SIM "$B/tests/sim" --plants ;;
    *) part "$1" $SECONDS_SCRIPT "tests/$1.sh" ;;
    esac
}

for name in ${PARTS:-unit sim cluster $(scripts)}; do
    if [ -n "$SAN" ] && [[ $name = readme || $name = compose ]]; then
        echo "== $name: left out, it tests a plain build of its own"
        continue
    fi
    run "$name"
done

sed -n -e '/^skipped: /p' -e 's/^\[SKIP\] /skipped: /p' "$logs"/* 2>/dev/null
for words in "${failures[@]}"; do
    echo "failed: $words"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && { [ "${CI:-}" != true ] || [ "$skipped" -eq 0 ]; }
