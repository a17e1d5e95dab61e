/* pelton
[columns.order_id]
checks = ["not_nul"]
*/
select order_id from orders
