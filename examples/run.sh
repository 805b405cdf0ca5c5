#!/bin/bash
# run.sh - `make run`: a cluster of four processes on loopback, one job over real
# text in cluster mode, and everything stopped again.  All files stay below $B/run.
set -euo pipefail
cd "$(dirname "$0")/.."
B=$(realpath "${B:-build}")
bin=$B/bin
run=$B/run
TEXTS=(/usr/include /usr/share/common-licenses)

rm -rf "$run"
mkdir -p "$run"/{state,blocks,out}
rmdir "$run/out"
export XDG_CACHE_HOME=$run/cache

pids=()
stop() { # in order: executors, driver, manager; each ends by itself on SIGTERM
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        kill "${pids[i]}" 2>/dev/null || true
        wait "${pids[i]}" 2>/dev/null || true
    done
    pids=()
}
trap stop EXIT

# await PATTERN: the next line of the manager's event stream that has it, within ten seconds
await() {
    local line
    while read -r -t 10 -u 3 line; do
        [[ $line == *"$1"* ]] && { echo "$line"; return; }
    done
    echo "run.sh: no '$1' from the manager within 10 s; its log: $run/manager.log" >&2
    exit 1
}

"$bin/ferro" keys init "$run/keys"
mkfifo "$run/events"
exec 3<>"$run/events"
"$bin/ferro-manager" --listen 127.0.0.1:0 --keys "$run/keys" --state "$run/state" --events 4 \
    4>"$run/events" 2>"$run/manager.log" &
pids+=($!)
manager=$(await '"listening"' | sed 's/.*"address":"\([^"]*\)".*/\1/')
"$bin/ferro-driver" serve --manager "$manager" --key "$run/keys/service.key" --dir "$run" 2>"$run/driver.log" &
pids+=($!)
for i in 1 2; do
    "$bin/ferro-executor" --manager "$manager" --key "$run/keys/join.key" --host "executor-$i" --slots 1 \
        --dir "$run/blocks" --disk "$run/blocks" --write "$run" 2>"$run/executor-$i.log" &
    pids+=($!)
done
for _ in driver executor executor; do
    await '.joined"' >/dev/null
done
echo "manager $manager · driver · 2 executors, 2 slots"

export FERRO_MANAGER=$manager FERRO_KEY=$run/keys/users/user.key
"$bin/ferro" submit --deploy-mode cluster --wait examples/wordcount.c "${TEXTS[@]}" "$run/out"
cat "$run"/out/part-* 2>/dev/null | head -n 10 | awk -F '\t' '{ printf "%10d %s\n", $2, $1 }' || true
stop
echo "next: ${B#"$PWD"/}/bin/ferro run examples/wordcount.c README.md -"
