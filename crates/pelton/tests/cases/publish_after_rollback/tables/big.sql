select order_id, amount from orders where amount >= 10
