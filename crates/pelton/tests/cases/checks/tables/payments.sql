/* pelton
[checks]
small = "amount < 100"
round = { sql = "amount = floor(amount)", on_fail = "warn" }
*/
select order_id, amount from orders
