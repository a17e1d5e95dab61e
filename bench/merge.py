"""Merging 1 % into a large table: makes the data for both sides, and is the other side, the `deltalake` package.

    merge.py data DIR ROWS [recent]   DIR/base.parquet of ROWS rows and DIR/changes.parquet of 1 % of them: 9 in 10 are updates,
                                      the others are new. `recent`: the updates lie in the newest 5 % of the table.
    merge.py load DIR                 DIR/delta, a Delta table with the base
    merge.py merge DIR                merges the changes into it; prints `merge_s` and `files`
    merge.py sums DIR                 prints `rows`, `amount` and `versions` of the Delta table, to compare with the other side
    merge.py intervals DIR COUNT      DIR/events.parquet, one row in every second minute: COUNT intervals, no two of them adjacent

Needs numpy, polars and pyarrow, and deltalake for `load`, `merge` and `sums`.
"""

import sys
import time

import numpy
import polars

# Rows that are made, written and loaded at a time.
CHUNK = 2_000_000
SECONDS = 1_767_225_600  # 2026-01-01


def rows(ids, version, random):
    count = len(ids)
    return polars.DataFrame(
        {
            "id": ids,
            "customer_id": random.integers(0, 1_000_000, count),
            "changed_at": ((SECONDS + ids // 10 + version * 86_400_000) * 1_000_000).astype("datetime64[us]"),
            "amount": numpy.round(random.random(count) * 1_000, 2),
            "status": polars.Series(random.integers(0, 4, count)).replace_strict(
                {0: "new", 1: "paid", 2: "sent", 3: "closed"}, return_dtype=polars.String
            ),
            "version": numpy.full(count, version, dtype=numpy.int64),
        }
    )


def data(folder, count, spread):
    import pyarrow.parquet

    random = numpy.random.default_rng(1)
    writer = None
    for start in range(0, count, CHUNK):
        table = rows(numpy.arange(start, min(start + CHUNK, count)), 0, random).to_arrow(compat_level=polars.CompatLevel.oldest())
        writer = writer or pyarrow.parquet.ParquetWriter(f"{folder}/base.parquet", table.schema, compression="zstd")
        writer.write_table(table, row_group_size=1_000_000)
    writer.close()
    changed = count // 100
    new = changed // 10
    first = count - count // 20 if spread == "recent" else 0
    updated = random.choice(numpy.arange(first, count), changed - new, replace=False)
    ids = numpy.concatenate([updated, numpy.arange(count, count + new)])
    table = rows(ids, 1, random).to_arrow(compat_level=polars.CompatLevel.oldest())
    pyarrow.parquet.write_table(table, f"{folder}/changes.parquet", compression="zstd")


def load(folder):
    import deltalake
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(f"{folder}/base.parquet")
    batches = pyarrow.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches(1 << 16))
    deltalake.write_deltalake(f"{folder}/delta", batches)


def merge(folder):
    import deltalake
    import pyarrow.parquet

    table = deltalake.DeltaTable(f"{folder}/delta")
    changes = pyarrow.parquet.read_table(f"{folder}/changes.parquet")
    start = time.perf_counter()
    merging = table.merge(changes, predicate="t.id = s.id", source_alias="s", target_alias="t")
    merging.when_matched_update_all().when_not_matched_insert_all().execute()
    print(f"merge_s {time.perf_counter() - start:.3f}")
    print(f"files {len(table.file_uris())}")


def sums(folder):
    import deltalake

    files = deltalake.DeltaTable(f"{folder}/delta").file_uris()
    found = polars.scan_parquet(files).select(
        polars.len().alias("rows"), polars.col("amount").sum().round(0), polars.col("version").sum().alias("versions")
    )
    for name, value in found.collect(engine="streaming").row(0, named=True).items():
        print(name, value)


def intervals(folder, count):
    at = (SECONDS - 120 * numpy.arange(count)) * 1_000_000
    events = polars.DataFrame({"at": at.astype("datetime64[us]"), "value": numpy.arange(count)})
    events.sort("at").write_parquet(f"{folder}/events.parquet")


what, folder = sys.argv[1:3]
if what == "data":
    data(folder, int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else "uniform")
elif what == "intervals":
    intervals(folder, int(sys.argv[3]))
else:
    {"load": load, "merge": merge, "sums": sums}[what](folder)
