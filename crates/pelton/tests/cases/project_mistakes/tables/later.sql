/* pelton
build = "merge"
*/
select order_id from orders
