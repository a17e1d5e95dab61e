/* pelton
build = "history"
key = "customer_id"
time = "at"
track = ["currency"]
delete = "state = 'closed'"
*/
select customer_id, at, currency, state from payments
