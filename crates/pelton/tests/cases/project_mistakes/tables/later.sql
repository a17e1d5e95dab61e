/* pelton
schedule = "1 day"
*/
select order_id from orders
