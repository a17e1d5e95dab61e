/* pelton
entity = "customer_id"
time = "at"
online = false
*/
select customer_id, now() as at, 1 as spent from orders
