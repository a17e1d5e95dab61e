/* pelton
build = "history"
key = "customer_id"
*/
select customer_id, city from changes
