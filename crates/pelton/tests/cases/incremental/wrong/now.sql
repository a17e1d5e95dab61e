/* pelton
build = "append"
*/
select order_id, now() as at from orders
