"""Asks DuckDB a query over the current version of a Delta table, called `current` in it: sums.py TABLE QUERY. Needs duckdb and deltalake."""

import sys

import deltalake
import duckdb

folder, query = sys.argv[1:3]
current = duckdb.read_parquet(deltalake.DeltaTable(folder).file_uris())
print(duckdb.query(query).fetchall())
