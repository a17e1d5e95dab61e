"""Makes request bodies for the endpoint `fraud` from the demo's files: bodies.py DEMO_FOLDER COUNT > FILE

Payments of December again, as if they happened now: their customers, devices and merchants have a history.
"""

import csv
import json
import sys

folder, count = sys.argv[1], int(sys.argv[2])
with open(f"{folder}/data/merchants.ndjson", encoding="utf-8") as lines:
    categories = {row["merchant_id"]: row["category"] for row in map(json.loads, lines)}
missing = {"", "NULL", "null", "NA", "N/A"}
with open(f"{folder}/data/transactions/2025-12.csv", encoding="utf-8", newline="") as lines:
    for row in csv.DictReader(lines):
        try:
            amount = float(row["amount"])
        except (TypeError, ValueError):
            continue
        if None in row or None in row.values() or row["merchant_id"] not in categories:
            continue
        request = {name: None if row[name] in missing else row[name] for name in ("device_id", "country", "wallet")}
        request["customer_id"] = int(row["customer_id"])
        request["merchant_id"] = row["merchant_id"]
        request["occurred_at"] = "2026-01-01T12:00:00Z"
        request["amount"] = amount
        request["channel"] = row["channel"].lower()
        request["category"] = categories[row["merchant_id"]]
        print(json.dumps({"rows": [request]}))
        count -= 1
        if count == 0:
            break
