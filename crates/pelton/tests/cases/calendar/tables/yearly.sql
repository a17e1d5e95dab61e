/* pelton
build    = "interval"
interval = "1 year"
time     = "year"
start    = "2026-06-30"
*/
select date_trunc('year', ordered_at) as year, sum(amount) as total from orders group by 1
