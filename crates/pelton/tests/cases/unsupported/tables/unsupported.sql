select order_id from orders tablesample (10 percent)
