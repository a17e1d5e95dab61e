select date_trunc('day', at) as day, count(*) as orders from orders group by 1
