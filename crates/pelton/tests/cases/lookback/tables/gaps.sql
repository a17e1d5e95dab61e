/* pelton
build    = "interval"
interval = "1 day"
time     = "at"
lookback = "2 days"
*/
select order_id, at, amount - lag(amount) over (order by at, order_id) as more from orders
