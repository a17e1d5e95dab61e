"""Prints the numbers that `src/tests/oracle.rs` holds; run once with scikit-learn, on the inputs that the test makes too.

pip install scikit-learn; python crates/learn/tests/oracle/metrics.py
"""
import numpy as np
import sklearn
from sklearn import metrics as m

print("scikit-learn", sklearn.__version__)
i = np.arange(500, dtype=np.int64)
noise = (i * 7919 + 13) % 101 / 100.0
target = ((i * 7 + i * i * 3) % 11 < 3).astype(int)
# Scores with many ties, some exactly 0 and 1.
score = np.clip(np.round(0.6 * noise + 0.35 * target, 2), 0.0, 1.0)
score[::97] = 1.0
score[1::89] = 0.0
hard = (score >= 0.5).astype(int)
print("log_loss", repr(m.log_loss(target, score)))
print("roc_auc", repr(m.roc_auc_score(target, score)))
print("average_precision", repr(m.average_precision_score(target, score)))
print("brier", repr(m.brier_score_loss(target, score)))
print("f1", repr(m.f1_score(target, hard)))
print("precision", repr(m.precision_score(target, hard)))
print("recall", repr(m.recall_score(target, hard)))
print("accuracy", repr(m.accuracy_score(target, hard)))

classes = (i * i + i // 3) % 4
raw = np.stack([(i * 7919 + k * 37 + 13) % 101 / 100.0 + 0.05 + (classes == k) for k in range(4)], axis=1)
probabilities = raw / raw.sum(axis=1, keepdims=True)
predicted = probabilities.argmax(axis=1)
predicted[::7] = 3
print("multiclass log_loss", repr(m.log_loss(classes, probabilities)))
print("multiclass accuracy", repr(m.accuracy_score(classes, predicted)))
print("macro_f1", repr(m.f1_score(classes, predicted, average="macro")))

y = (i * 104729 % 1009) / 7.0 - 40.0
p = y + ((i * 7919) % 211) / 10.0 - 10.0
print("mae", repr(m.mean_absolute_error(y, p)))
print("rmse", repr(np.sqrt(m.mean_squared_error(y, p))))
print("r2", repr(m.r2_score(y, p)))
print("mape", repr(m.mean_absolute_percentage_error(y, p)))
