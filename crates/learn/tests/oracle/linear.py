"""Prints the coefficients that `src/tests/oracle.rs` holds; run once with scikit-learn, on the inputs that the test makes too.

pip install scikit-learn; python crates/learn/tests/oracle/linear.py
"""
import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

print("scikit-learn", sklearn.__version__)
i = np.arange(400, dtype=np.int64)
a = (i * 7919 % 211) / 10.0
b = (i * 104729 % 307) / 100.0 - 1.0
c = (i * i * 31 % 97) * 1000.0
x = StandardScaler().fit_transform(np.stack([a, b, c], axis=1))
noise = (i * 7457 % 101) / 50.0 - 1.0

# scikit-learn's penalty is `0.5 * |w|^2` beside `C` times the summed log loss, and `alpha * |w|^2` beside the summed squares.
binary = (0.15 * a - b + c / 50000.0 + 2.0 * noise > 2.0).astype(int)
model = LogisticRegression(C=0.5, tol=1e-12, max_iter=10000).fit(x, binary)
print("binary", repr(model.intercept_.tolist()), repr(model.coef_.tolist()))
classes = np.digitize(0.15 * a - b + 2.0 * noise, [0.5, 2.5])
model = LogisticRegression(C=0.5, tol=1e-12, max_iter=10000).fit(x, classes)
print("probabilities", repr(model.predict_proba(x[:3]).tolist()))
model = Ridge(alpha=3.0).fit(x, 5.0 + a - 2.0 * b + noise)
print("ridge", repr(float(model.intercept_)), repr(model.coef_.tolist()))
