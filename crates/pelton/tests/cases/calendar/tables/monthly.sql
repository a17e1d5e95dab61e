select date_trunc('month', ordered_at) as month, sum(amount) as total from orders group by 1
