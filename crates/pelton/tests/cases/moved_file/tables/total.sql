select sum(amount) as total from orders
