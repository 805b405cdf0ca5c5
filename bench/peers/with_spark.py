"""with_spark.py WORK OUTPUT ARGUMENT... - the benchmarks in Spark's DataFrames, for spark-submit --master local[2]

Text comes as it is, numbers as Parquet (to_parquet.py).  The output is a folder of parts, which
together have the form of bench/ref's.
"""
import sys

from pyspark.sql import SparkSession, functions as F

DIMENSIONS = 8
spark = SparkSession.builder.appName("ferro-peers").config("spark.sql.shuffle.partitions", 16).getOrCreate()
spark.sparkContext.setLogLevel("ERROR")


def save(frame, output, delimiter):
    frame.select(F.concat_ws(delimiter, *[F.col(c).cast("string") for c in frame.columns])).write.text(output)


def wordcount(output, text):
    words = spark.read.text(text).select(F.explode(F.split("value", " ")).alias("word")).where("word <> ''")
    save(words.groupBy("word").agg(F.count("*").alias("n")).orderBy(F.desc("n"), "word"), output, "\t")


def sort(output, text):
    spark.read.text(text).orderBy("value").write.text(output)


def groupby(output, text):
    rows = spark.read.csv(text, sep=";", schema="name string, v double", quote="")
    groups = rows.groupBy("name").agg(F.min("v"), F.avg("v"), F.max("v"), F.count("*"))
    save(groups.orderBy("name"), output, ";")


def join(output, left, right):
    pairs = spark.read.parquet(left).join(spark.read.parquet(right).withColumnRenamed("value", "group"), "key")
    groups = pairs.groupBy("group").agg(F.count("*").alias("pairs"), F.sum("value").alias("sum"))
    save(groups.orderBy("group"), output, "\t")


def pagerank(output, edges, _nodes, iterations):
    """As Spark's own example: links cached, ranks joined in each iteration."""
    edges = spark.read.parquet(edges)
    nodes = edges.select(F.col("source").alias("node")).union(edges.select("target")).distinct()
    out = edges.groupBy("source").agg(F.count("*").alias("n"))
    links = edges.join(out, "source").cache()
    nodes = nodes.cache()
    ranks = nodes.withColumn("rank", F.lit(1.0))
    for _ in range(int(iterations)):
        sums = (links.join(ranks, links.source == ranks.node).groupBy("target")
                .agg(F.sum(F.col("rank") / F.col("n")).alias("gift")))
        ranks = (nodes.join(sums, nodes.node == sums.target, "left")
                 .select("node", (0.15 + 0.85 * F.coalesce("gift", F.lit(0.0))).alias("rank"))
                 .localCheckpoint())  # or the plan doubles in each iteration
    save(ranks.orderBy("node"), output, "\t")


def kmeans(output, points, k, iterations):
    names = [f"x{d}" for d in range(DIMENSIONS)]
    points = spark.read.parquet(points).cache()
    centres = [tuple(row) for row in points.limit(int(k)).collect()]
    for _ in range(int(iterations)):
        distances = [sum(((F.col(x) - c) * (F.col(x) - c) for x, c in zip(names, centre)), F.lit(0.0))
                     for centre in centres]
        nearest = F.array_position(F.array(*distances), F.least(*distances)) - 1
        for row in points.groupBy(nearest.alias("c")).agg(*[F.avg(x) for x in names]).collect():
            centres[row[0]] = tuple(row)[1:]
    spark.createDataFrame([(" ".join(repr(x) for x in c),) for c in centres], "line string").coalesce(1).write.text(output)


globals()[sys.argv[1]](*sys.argv[2:])
spark.stop()
