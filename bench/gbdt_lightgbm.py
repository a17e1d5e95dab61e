"""Trains LightGBM on a training set that Pelton exported, with the same rounds, leaves, bins and threads as `bench-gbdt`.

Prints `train_s` (the shortest of the repeats; binning is part of it, as it is on the other side) and `average_precision` on the
test rows. Needs lightgbm, polars and scikit-learn.
"""

import argparse
import time

import lightgbm
import numpy
import polars
from sklearn.metrics import average_precision_score

arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("file", help="Parquet with the columns `part` (train, test), `is_fraud`, and inputs")
arguments.add_argument("--rounds", type=int, default=200)
arguments.add_argument("--leaves", type=int, default=31)
arguments.add_argument("--bins", type=int, default=255)
arguments.add_argument("--threads", type=int, default=2)
arguments.add_argument("--rate", type=float, default=0.1)
arguments.add_argument("--repeats", type=int, default=3)
given = arguments.parse_args()

rows = polars.read_parquet(given.file)
target = rows["is_fraud"].cast(polars.Float64).to_numpy()
is_test = (rows["part"] == "test").to_numpy()
columns, categories = [], []
for name in rows.columns:
    if name in ("part", "is_fraud"):
        continue
    column = rows[name]
    if column.dtype in (polars.String, polars.Categorical):
        categories.append(len(columns))
        column = column.cast(polars.String).rank("dense")
    elif isinstance(column.dtype, polars.Datetime):
        column = column.dt.epoch("s")
    columns.append(column.cast(polars.Float64).to_numpy())
inputs = numpy.column_stack(columns)
train_inputs, train_target = inputs[~is_test], target[~is_test]

parameters = {
    "objective": "binary",
    "num_leaves": given.leaves,
    "max_bin": given.bins,
    "num_threads": given.threads,
    "learning_rate": given.rate,
    "lambda_l2": 1.0,
    "min_sum_hessian_in_leaf": 1.0,
    "min_data_in_leaf": 1,
    "verbose": -1,
    "seed": 1,
}
best, model = float("inf"), None
for _ in range(given.repeats):
    start = time.perf_counter()
    data = lightgbm.Dataset(train_inputs, train_target, categorical_feature=categories or "auto", free_raw_data=False)
    model = lightgbm.train(parameters, data, given.rounds)
    best = min(best, time.perf_counter() - start)
score = model.predict(inputs[is_test])
print(f"train_rows {len(train_target)}")
print(f"columns {inputs.shape[1]}")
print(f"rounds {model.num_trees()}")
print(f"train_s {best:.3f}")
print(f"average_precision {average_precision_score(target[is_test], score):.4f}")
