select customer, sum(amount) as total from big group by customer
