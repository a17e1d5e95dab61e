/* pelton
entity = "customer_id"
time = "at"
*/
select customer_id, at, spent as last_spent from visits
