select customer_id,
       sum(cast(order_id as text)) as ids
from orders
group by 1
