/* pelton
build    = "interval"
interval = "1 week"
time     = "week"
*/
select date_trunc('week', ordered_at) as week, sum(amount) as total from orders group by 1
