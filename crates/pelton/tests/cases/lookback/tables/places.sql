/* pelton
build    = "interval"
interval = "1 day"
time     = "at"
lookback = "2 days"
*/
select order_id, at, row_number() over (order by at, order_id) as place from orders
