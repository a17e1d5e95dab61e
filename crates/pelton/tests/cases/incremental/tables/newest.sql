/* pelton
build = "merge"
key = "customer"
time = "at"
delete = "status = 'closed'"
*/
select customer, status, amount, at from orders
