/* pelton
[checks]
positive = { sql = "amount > 0", on_fail = "quarantine" }
*/
select order_id, amount from orders
