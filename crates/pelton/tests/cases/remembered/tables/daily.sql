/* pelton
build = "interval"
interval = "1 day"
time = "day"
start = "2026-03-02"
*/
select date_trunc('day', ordered_at) as day, sum(amount) as total from orders group by 1
