select customer_id, city from states where is_current
