"""Delta tables that Pelton committed, read by deltalake, Polars and DuckDB: each must see what `pelton query` sees."""

import json
import subprocess
import sys
from pathlib import Path

import duckdb
import polars
from deltalake import DeltaTable

pelton, demo = sys.argv[1], Path(sys.argv[2])


def query(sql):
    out = subprocess.run(
        [pelton, "--project", str(demo), "query", sql, "--format", "json"], check=True, capture_output=True, text=True
    )
    rows = json.loads(out.stdout)
    return rows["rows"] if isinstance(rows, dict) else rows


warehouse = demo / "warehouse" / "tables"
tables = [row["node"] for row in query("select distinct node from pelton.versions where delta_version is not null")]
assert len(tables) >= 5, tables
for name in tables:
    place = str(warehouse / name)
    ours = query(f"select count(*) as n from {name}")[0]["n"]
    table = DeltaTable(place)
    by_deltalake = table.to_pyarrow_table().num_rows
    by_polars = polars.scan_delta(place).select(polars.len()).collect().item()
    by_duckdb = duckdb.sql(f"select count(*) from read_parquet({table.file_uris()!r})").fetchall()[0][0]
    assert ours == by_deltalake == by_polars == by_duckdb, (name, ours, by_deltalake, by_polars, by_duckdb)
    protocol = table.protocol()
    assert protocol.min_reader_version == 1 and protocol.min_writer_version <= 2, (name, protocol)

ours = query("select sum(amount) as total, max(occurred_at) as newest from payments")[0]
theirs = polars.scan_delta(str(warehouse / "payments")).select(polars.col("amount").sum()).collect().item()
assert abs(float(ours["total"]) - float(theirs)) < 0.01, (ours, theirs)
print(f"peers: {len(tables)} Delta tables read alike by deltalake, polars and duckdb")
