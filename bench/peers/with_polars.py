"""with_polars.py WORK OUTPUT ARGUMENT... - the benchmarks in Polars, two threads

Text comes as it is, numbers as Parquet (to_parquet.py).  The output has the form of bench/ref's.
"""
import os
import sys

os.environ["POLARS_MAX_THREADS"] = "2"  # read when the module is loaded
import polars as pl  # noqa: E402

DIMENSIONS = 8


def lines(path):
    """The lines of a text, none of whose bytes mean anything."""
    return pl.scan_csv(path, has_header=False, separator="\x01", quote_char=None, schema={"line": pl.String})


def save(frame, output, delimiter):
    frame.sink_csv(output, include_header=False, separator=delimiter, quote_style="never", engine="streaming")


def wordcount(output, text):
    words = lines(text).select(pl.col("line").str.split(" ").alias("word")).explode("word")
    counts = words.filter(pl.col("word") != "").group_by("word").agg(pl.len().alias("n"))
    save(counts.sort(["n", "word"], descending=[True, False]), output, "\t")


def sort(output, text):
    save(lines(text).sort("line"), output, "\x01")


def groupby(output, text):
    rows = pl.scan_csv(text, has_header=False, separator=";", quote_char=None,
                       schema={"name": pl.String, "v": pl.Float64})
    v = pl.col("v")
    groups = rows.group_by("name").agg(v.min().alias("min"), v.mean().alias("mean"), v.max().alias("max"),
                                       pl.len().alias("n"))
    groups.sort("name").sink_csv(output, include_header=False, separator=";", quote_style="never",
                                 engine="streaming")


def join(output, left, right):
    pairs = pl.scan_parquet(left).join(pl.scan_parquet(right).rename({"value": "group"}), on="key")
    save(pairs.group_by("group").agg(pl.len().alias("pairs"), pl.col("value").sum()).sort("group"), output, "\t")


def pagerank(output, edges, _nodes, iterations):
    edges = pl.read_parquet(edges)
    out = edges.group_by("source").agg(pl.len().alias("n"))
    nodes = pl.concat([edges["source"], edges["target"]]).unique().to_frame("node")
    nodes = nodes.join(out, left_on="node", right_on="source", how="left")
    ranks = nodes.with_columns(pl.lit(1.0).alias("rank"))
    for _ in range(int(iterations)):
        gifts = ranks.lazy().select("node", (pl.col("rank") / pl.col("n")).alias("gift"))
        sums = (edges.lazy().join(gifts, left_on="source", right_on="node")
                .group_by("target").agg(pl.col("gift").sum()))
        ranks = (nodes.lazy().join(sums, left_on="node", right_on="target", how="left")
                 .select("node", "n", (0.15 + 0.85 * pl.col("gift").fill_null(0)).alias("rank")).collect())
    save(ranks.lazy().select("node", "rank").sort("node"), output, "\t")


def kmeans(output, points, k, iterations):
    names = [f"x{d}" for d in range(DIMENSIONS)]
    points = pl.read_parquet(points)
    centres = points.head(int(k)).rows()
    for _ in range(int(iterations)):
        distances = [pl.sum_horizontal((pl.col(x) - c) ** 2 for x, c in zip(names, centre)).alias(f"d{i}")
                     for i, centre in enumerate(centres)]
        nearest = pl.lit(None, pl.Int32)
        for i in reversed(range(len(centres))):  # so that the first of several decides
            nearest = pl.when(pl.col(f"d{i}") == pl.col("least")).then(pl.lit(i, pl.Int32)).otherwise(nearest)
        means = (points.lazy().with_columns(distances)
                 .with_columns(pl.min_horizontal(f"d{i}" for i in range(len(centres))).alias("least"))
                 .select(*names, nearest.alias("c"))
                 .group_by("c").agg(pl.col(x).mean() for x in names).collect(engine="streaming"))
        for row in means.rows():
            centres[row[0]] = row[1:]
    with open(output, "w") as f:
        f.writelines(" ".join(repr(x) for x in centre) + "\n" for centre in centres)


globals()[sys.argv[1]](*sys.argv[2:])
