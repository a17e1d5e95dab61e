select order_id, date_trunk('day', ordered_at) as day from orders
