/* pelton
build    = "interval"
interval = "1 day"
time     = "at"
lookback = "2 days"
*/
select order_id, at, sum(amount) over (order by at, order_id rows between 2 preceding and current row) as total from orders
