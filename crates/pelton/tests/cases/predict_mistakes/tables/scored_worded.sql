select id, score
from narrow
join predict(over, worded) as p using (id)
