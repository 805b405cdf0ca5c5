"""to_parquet.py KIND FILE PARQUET - the same numbers as columns

Peers read no raw arrays of numbers, so they get them as Parquet, uncompressed.  KIND is
rows (int64 key, value), edges (int64 source, target) or points (8 doubles x0..x7).
"""
import os
import sys

import polars as pl

COLUMNS = {
    "rows": ("q", ["key", "value"]),
    "edges": ("q", ["source", "target"]),
    "points": ("d", [f"x{d}" for d in range(8)]),
}

kind, source, target = sys.argv[1:]
code, names = COLUMNS[kind]
with open(source, "rb") as f:
    numbers = pl.Series(memoryview(f.read()).cast(code))
frame = pl.DataFrame({name: numbers.gather_every(len(names), i) for i, name in enumerate(names)})
frame.write_parquet(target + ".new", compression="uncompressed")
os.rename(target + ".new", target)
