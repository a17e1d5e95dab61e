/* pelton
build = "append"
*/
select customer, count(*) as n from orders group by customer
