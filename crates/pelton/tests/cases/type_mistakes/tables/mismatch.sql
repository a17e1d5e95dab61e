select order_id, amount + ordered_at as nonsense from orders
