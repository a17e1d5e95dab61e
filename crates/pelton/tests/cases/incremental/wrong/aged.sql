/* pelton
build = "append"
*/
select order_id from recent
