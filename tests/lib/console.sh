# console.sh - run what a page shows, and compare what it prints.
#
# A page's ```console blocks hold commands ("$ " before each, "> " before its further
# lines) and below each what it prints, on stdout and stderr together.  A run of digits stands for
# any such run, "…" for any text, a line "…" for any number of lines.  A command
# that ends with "&" is a service: it goes on until console_end.
#
#     console_begin DIR               everything happens in DIR
#     console_run PAGE "Heading"      the blocks below that heading, in order
#     console_end                     SIGTERM to the services, newest first; bounded
#
# passed, failed: commands counted so far.  FREE_PORT replaces 7400 in commands.

passed=0 failed=0
console_services=()

console_begin()
{
    console_dir=$1
    mkdir -p "$console_dir"
    cd "$console_dir" || exit 1
}

# commands PAGE HEADING: NUL-separated pairs, command and expected output
console_parse()
{
    awk -v heading="$2" '
        function flush() { if (command != "") printf "%s%c%s%c", command, 0, expected, 0; command = expected = "" }
        /^## /        { inside = ($0 == "## " heading) }
        /^```/        { if (block) flush(); block = inside && $0 == "```console"; next }
        !block        { next }
        /^\$ /        { flush(); command = substr($0, 3); next }
        /^> / && expected == "" { command = command "\n" substr($0, 3); next }
                      { expected = expected $0 "\n" }' "$1"
}

# console_same EXPECTED PRINTED: do they say the same, line by line?
console_same()
{
    EXPECTED=$1 LC_ALL=C awk '
        function pattern(line) {
            gsub(/[0-9]+(\.[0-9]+)*/, "\001", line)
            gsub(/[][\\.*^$+?(){}|\/]/, "\\\\&", line)
            gsub(/\001/, "[0-9]+([.][0-9]+)*", line)
            gsub(/…/, ".*", line)
            gsub(/ +/, " +", line)
            return "^" line "$"
        }
        # do expected lines from i on stand for printed lines from j on?
        function same(i, j) {
            if (i > ne) return j > np
            if (want[i] == "…") {
                if (i == ne) return 1
                for (; j <= np; j++)
                    if (same(i + 1, j)) return 1
                return same(i + 1, j)
            }
            return j <= np && got[j] ~ pattern(want[i]) && same(i + 1, j + 1)
        }
        { p = p $0 "\n" }
        END {
            e = ENVIRON["EXPECTED"]
            gsub(/ +\n/, "\n", p); sub(/[ \n]+$/, "", e); sub(/[ \n]+$/, "", p)
            ne = e == "" ? 0 : split(e, want, "\n")
            np = p == "" ? 0 : split(p, got, "\n")
            exit !same(1, 1)
        }' <<<"$2"
}

console_run()
{
    local command expected printed log status
    while IFS= read -r -d '' command <&7 && IFS= read -r -d '' expected <&7; do
        command=${command//7400/${FREE_PORT:-7400}}
        log=$console_dir/.printed-$((passed + failed))
        if [[ $command == *'&' ]]; then
            eval "${command%&} >$log.service 2>&1 &" 7<&-
            console_services+=($!)
            console_ready "$log.service" || { echo "FAIL: $command"; cat "$log.service"; failed=$((failed + 1)); continue; }
            passed=$((passed + 1))
            continue
        fi
        eval "$command" >"$log" 2>&1 </dev/null 7<&-
        status=$?
        printed=$(cat "$log")
        if console_same "$expected" "$printed"; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
            printf 'FAIL: $ %s\n--- the page says\n%s\n--- it printed (status %s)\n%s\n---\n' "$command" "$expected" "$status" "$printed"
        fi
        rm -f "$log"
    done 7< <(console_parse "$1" "$2")
}

# A service is up once it has logged something (each says "listening" or "joined").
console_ready()
{
    local tail status
    exec 9< <(exec tail -c +1 -F "$1" 2>/dev/null)
    tail=$!
    read -r -t 10 -N 1 -u 9
    status=$?
    exec 9<&-
    kill "$tail" 2>/dev/null
    return "$status"
}

console_end()
{
    local i
    for ((i = ${#console_services[@]} - 1; i >= 0; i--)); do
        kill "${console_services[i]}" 2>/dev/null
        timeout 20 tail --pid="${console_services[i]}" -f /dev/null || kill -9 "${console_services[i]}" 2>/dev/null
        wait "${console_services[i]}" 2>/dev/null
    done
    console_services=()
}
