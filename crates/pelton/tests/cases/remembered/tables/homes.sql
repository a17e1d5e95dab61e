/* pelton
build = "history"
key = "customer"
*/
select customer, city from people
