/* pelton
[checks]
small = { sql = "amount < 10", on_fail = "quarantine" }
positive = "amount > 0"
*/
select id, amount from orders
