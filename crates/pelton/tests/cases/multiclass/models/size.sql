/* pelton
description = "Three classes of text."
task = "classification"
target = "size"
key = ["id"]
learner = ["logistic", "gbdt"]
accept = ["accuracy >= 0.6", "macro_f1 >= current - 0.1"]
*/
select id, x, noise, case when x + noise / 8 < 40 then 'low' when x + noise / 8 < 75 then 'middle' else 'high' end as size
from points
