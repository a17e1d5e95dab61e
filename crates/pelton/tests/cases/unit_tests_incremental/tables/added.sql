/* pelton
build = "append"
*/
select order_id, amount * 100 as cents from orders
