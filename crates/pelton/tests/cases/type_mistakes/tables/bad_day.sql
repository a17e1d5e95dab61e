select order_id, amount
from orders
where ordered_at >= '2026-02-30'
