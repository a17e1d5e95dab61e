select customer_id, sum(amount) as total
from order
group by customer_id
