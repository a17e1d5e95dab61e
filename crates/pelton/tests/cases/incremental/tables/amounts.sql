/* pelton
build = "history"
key = "customer"
time = "at"
track = "amount"
*/
select customer, amount, at from orders
