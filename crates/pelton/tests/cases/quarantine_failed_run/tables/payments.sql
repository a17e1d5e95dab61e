/* pelton
[checks]
positive = "amount > 0"
small = { sql = "amount < 10", on_fail = "quarantine" }
*/
select id, amount from orders
