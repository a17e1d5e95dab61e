/* pelton
build = "merge"
key = "customer_id"
time = "changed_at"
delete = "status = 'closed'"
*/
select customer_id, city, status, changed_at from changes
