"""with_duckdb.py WORK OUTPUT ARGUMENT... - the benchmarks in DuckDB's SQL, two threads

Text comes as it is, numbers as Parquet (to_parquet.py).  The output has the form of bench/ref's.
"""
import sys

import duckdb

DIMENSIONS = 8
db = duckdb.connect()
db.execute("SET threads = 2")
db.execute("SET preserve_insertion_order = true")


def lines(path):
    """The lines of a text, none of whose bytes mean anything."""
    return (f"read_csv('{path}', columns = {{'line': 'VARCHAR'}}, delim = '\x01', quote = '', escape = '',"
            " header = false, auto_detect = false)")


def save(query, output, delimiter):
    quotes = ", quote '', escape ''" if delimiter == "\x01" else ""
    db.execute(f"COPY ({query}) TO '{output}' (FORMAT csv, HEADER false, DELIM '{delimiter}'{quotes})")


def wordcount(output, text):
    save(f"""SELECT word, count(*) AS n
             FROM (SELECT unnest(string_split(line, ' ')) AS word FROM {lines(text)})
             WHERE word <> '' GROUP BY word ORDER BY n DESC, word""", output, "\t")


def sort(output, text):
    save(f"SELECT line FROM {lines(text)} ORDER BY line", output, "\x01")


def groupby(output, text):
    rows = (f"read_csv('{text}', columns = {{'name': 'VARCHAR', 'v': 'DOUBLE'}}, delim = ';', quote = '',"
            " escape = '', header = false, auto_detect = false)")
    save(f"""SELECT name, printf('%.1f', min(v)), printf('%.6f', avg(v)), printf('%.1f', max(v)), count(*)
             FROM {rows} GROUP BY name ORDER BY name""", output, ";")


def join(output, left, right):
    save(f"""SELECT r.value, count(*), sum(l.value) FROM '{left}' AS l JOIN '{right}' AS r USING (key)
             GROUP BY r.value ORDER BY r.value""", output, "\t")


def pagerank(output, edges, _nodes, iterations):
    db.execute(f"CREATE TABLE edges AS SELECT source, target FROM '{edges}'")
    db.execute("""CREATE TABLE nodes AS
                  SELECT node, any_value(n) AS n
                  FROM (SELECT source AS node, count(*) AS n FROM edges GROUP BY source
                        UNION ALL SELECT DISTINCT target, NULL FROM edges) GROUP BY node""")
    db.execute("CREATE TABLE ranks AS SELECT node, n, 1.0::DOUBLE AS rank FROM nodes")
    for _ in range(int(iterations)):
        db.execute("""CREATE OR REPLACE TABLE ranks AS
                      SELECT nodes.node, nodes.n, 0.15 + 0.85 * coalesce(into_it.gift, 0) AS rank
                      FROM nodes LEFT JOIN
                           (SELECT target AS node, sum(rank / n) AS gift
                            FROM edges JOIN ranks ON source = ranks.node GROUP BY target) AS into_it
                      USING (node)""")
    save("SELECT node, rank FROM ranks ORDER BY node", output, "\t")


def kmeans(output, points, k, iterations):
    names = [f"x{d}" for d in range(DIMENSIONS)]
    db.execute(f"CREATE TABLE points AS SELECT * FROM '{points}'")
    centres = db.execute(f"SELECT * FROM points LIMIT {int(k)}").fetchall()
    for _ in range(int(iterations)):
        distances = [" + ".join(f"({x} - {c!r}::DOUBLE) * ({x} - {c!r}::DOUBLE)" for x, c in zip(names, centre)) for centre in centres]
        columns = ", ".join(f"{d} AS d{i}" for i, d in enumerate(distances))
        listed = ", ".join(f"d{i}" for i in range(len(centres)))
        nearest = "CASE least({0}) {1} END".format(
            listed, " ".join(f"WHEN d{i} THEN {i}" for i in range(len(centres))))
        means = ", ".join(f"avg({x})" for x in names)
        for row in db.execute(f"""SELECT {nearest} AS c, {means}
                                  FROM (SELECT {', '.join(names)}, {columns} FROM points) GROUP BY c""").fetchall():
            centres[row[0]] = row[1:]
    with open(output, "w") as f:
        f.writelines(" ".join(repr(x) for x in centre) + "\n" for centre in centres)


globals()[sys.argv[1]](*sys.argv[2:])
