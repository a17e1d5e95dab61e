/* pelton
build = "merge"
key = "custmer"
delete = "statu = 'closed'"
lookback = "1 day"
*/
select customer, amount from orders
