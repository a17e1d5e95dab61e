select count(*) as orders, sum(amount) as total, max(ordered_at) as newest from orders
