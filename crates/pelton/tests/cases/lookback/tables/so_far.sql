/* pelton
build    = "interval"
interval = "1 day"
time     = "at"
lookback = "2 days"
*/
select order_id, at, sum(amount) over (order by at) as total from orders
