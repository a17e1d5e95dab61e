select name, count(*) as orders, sum(amount) as spent, avg(weight) as weight from clean group by name
