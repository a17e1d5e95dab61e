/* pelton
build = "merge"
key = "customer"
delete = "statu = 'closed'"
*/
select customer, amount from orders
