/* pelton
build = "history"
key = "customer_id"
time = "changed_at"
track = "city"
delete = "status = 'closed'"
*/
select customer_id, city, status, changed_at from changes
