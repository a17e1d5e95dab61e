select o.order_id, e.order_id as earlier
from orders o
asof join (select *, ordered_at + interval '1 hour' as paid_at from orders) e
     match_condition (o.ordered_at >= e.ordered_at and o.ordered_at - e.paid_at <= interval '7 days')
     on o.customer_id = e.customer_id
