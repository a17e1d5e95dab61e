select customer_id from orders_clean
