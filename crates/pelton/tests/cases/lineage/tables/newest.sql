/* pelton
build = "merge"
key = "customer_id"
time = "at"

[columns.customer_id]
checks = ["references(customers.customer_id)"]

[checks.has_a_rate]
sql = "select n.* from newest n join clean c on n.customer_id = c.customer_id where c.euros is null"
*/
select customer_id, at, note from payments
