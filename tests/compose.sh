#!/bin/bash
# compose.sh - the compose cluster on this machine's Docker Engine, as the README shows it: built,
# used, scaled, hurt in mid-job and taken down again.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
checkout=$PWD
. tests/lib/console.sh

if ! docker info >/dev/null 2>&1; then
    echo "skipped: compose: no Docker Engine answers here"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
command -v docker-compose >/dev/null || docker-compose() { docker compose "$@"; }

B=$(realpath "${B:-build}")
work=$B/compose
export COMPOSE_PROJECT_NAME=ferrotest FERRO_PORT=0
cleanup()
{
    docker-compose -f "$checkout/compose.yaml" --project-directory "$checkout" down -v -t 20 >/dev/null 2>&1
    rm -rf "$work"
}
trap cleanup EXIT

# check WORDS COMMAND...: one test
check()
{
    local words=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAIL: $words"
    fi
}
executors() { docker-compose run --rm -T ferro executors --json </dev/null | grep -c '"state": *"ready"'; }
wait_executors() # N: until so many are ready; each look takes about a second
{
    for _ in $(seq 60); do
        [ "$(executors)" -eq "$1" ] && return 0
    done
    docker-compose logs --tail 20 executor manager
    return 1
}
wordcount() { cat "$@" | tr -s ' \t\n\v\f\r' '\n' | grep -a . | LC_ALL=C sort | uniq -c | awk '{ print $2 "\t" $1 }' | LC_ALL=C sort -t "$(printf '\t')" -k2,2nr -k1,1; }
same_parts() { cmp <(cat "$1"/part-*) "$2"; }

# ---- the README's own commands, in a copy of what a checkout has -------------------
rm -rf "$work"
console_begin "$work"
for name in compose.yaml docker examples LICENSE Makefile common cli driver engine executor include manager README.md SECURITY.md .dockerignore tests; do
    cp -a "$checkout/$name" .
done
began=$SECONDS
console_run "$checkout/README.md" "A cluster in containers"
echo "compose: the README's commands took $((SECONDS - began)) s"

# ---- more than the README shows ------------------------------------------------------
check "up again" docker-compose up -d
check "two executors are ready" wait_executors 2
wordcount LICENSE README.md >expected
check "submit" docker-compose run --rm -T ferro submit examples/wordcount.c LICENSE README.md words/
check "the word count is right" same_parts words expected
check "what the CLI writes belongs to the folder's owner" test "$(stat -c %u words)" = "$(stat -c %u .)"
check "cluster mode" docker-compose run --rm -T ferro submit --deploy-mode cluster --wait examples/wordcount.c /etc/debian_version - >printed
check "cluster mode prints" grep -q . printed

# An executor's container dies in mid-job, and two more come: the result is that of an undisturbed run.
seq 0 159 | awk '{ s[$1 * $1 % 10] += $1 * $1 } END { for (d = 0; d < 10; d++) if (d in s) print d "\t" s[d] }' >expected
mkfifo events
docker-compose run --rm -T ferro submit --events 1 tests/cluster/jobs/slow.c 160 100 slow/ </dev/null >events 2>submit.err &
submit=$!
exec 8<events
while read -r -t 60 -u 8 line; do
    [[ $line == *'"executor.attached"'* ]] && break
done
cat <&8 >events.log &
check "an executor is killed" docker kill "$(docker ps -q --filter "name=${COMPOSE_PROJECT_NAME}.executor.2")"
check "scaled up" docker-compose up -d --scale executor=4
wait "$submit"
check "the job ended well ($(tail -n 3 submit.err | tr '\n' ' '))" test $? -eq 0
check "its result is right" same_parts slow expected
check "the loss was noticed" grep -q 'executor.lost' events.log
check "four executors are ready" wait_executors 4
check "newcomers took work" test "$(grep -c 'executor.attached' events.log)" -ge 1
check "down" docker-compose down -v -t 20
check "nothing is left" test -z "$(docker ps -aq --filter "name=${COMPOSE_PROJECT_NAME}")"

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
