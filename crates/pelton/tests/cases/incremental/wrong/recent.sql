/* pelton
build = "view"
*/
select order_id from orders where at > now() - interval '30 days'
