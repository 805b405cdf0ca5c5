#!/bin/bash
# readme.sh - every command of the README, as a newcomer types it, and what it prints.
#
# "make test" is what runs this, and the containers' commands run in compose.sh.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
checkout=$PWD
. tests/lib/console.sh

B=$(realpath "${B:-build}")
work=$B/readme
trap 'console_end; rm -rf "$work"' EXIT

# A folder that looks like the checkout, so that what the commands leave behind is found and goes.
rm -rf "$work"
console_begin "$work"
for name in Makefile README.md LICENSE include cli common driver engine executor manager docker examples tests bench; do
    ln -s "$checkout/$name" .
done
ln -s "$B" build
blocks() { find /dev/shm -mindepth 2 -maxdepth 2 -path '/dev/shm/ferro*' 2>/dev/null | sort; }
blocks_before=$(blocks)
export XDG_CACHE_HOME=$work/cache HOME=$work
unset MAKEFLAGS MAKELEVEL # of the make that runs us
FREE_PORT=$(comm -23 <(seq 20000 30000 | sort) <(ss -tlnH | awk '{ sub(/.*:/, "", $4); print $4 }' | sort -u) | shuf -n 1)

began=$SECONDS
for section in "Two commands" "A job" "A cluster by hand"; do
    console_run "$checkout/README.md" "$section"
done
console_end
echo "readme: $((SECONDS - began)) s"

left=$(comm -13 <(echo "$blocks_before") <(blocks))
if [ -n "$left" ]; then
    failed=$((failed + 1))
    echo "FAIL: blocks are left: $left"
else
    passed=$((passed + 1))
fi
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
