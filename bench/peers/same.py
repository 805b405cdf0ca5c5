"""same.py EXPECTED GOT [TOLERANCE] - equal line by line and field by field; numbers within TOLERANCE (1e-9), relative or absolute"""
import itertools
import re
import sys

tolerance = float(sys.argv[3]) if len(sys.argv) > 3 else 1e-9


def close(want, got):
    try:
        a, b = float(want), float(got)
    except ValueError:
        return False
    return abs(a - b) <= tolerance * max(1, abs(a))


def split(line):
    return re.split("[\t; ]", line.rstrip("\n"))


with open(sys.argv[1]) as expected, open(sys.argv[2]) as got:
    for number, (want, line) in enumerate(itertools.zip_longest(expected, got, fillvalue=""), 1):
        if want == line:
            continue
        pairs = list(itertools.zip_longest(split(want), split(line), fillvalue=""))
        if not all(a == b or close(a, b) for a, b in pairs):
            print(f"line {number}: {want.strip()!r} expected, {line.strip()!r} is there", file=sys.stderr)
            sys.exit(1)
