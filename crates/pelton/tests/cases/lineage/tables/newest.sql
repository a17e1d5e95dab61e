/* pelton
build = "merge"
key = "customer_id"
time = "at"
*/
select customer_id, at, note from payments
