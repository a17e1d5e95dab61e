/* pelton
build = full
*/
select order_id from orders
