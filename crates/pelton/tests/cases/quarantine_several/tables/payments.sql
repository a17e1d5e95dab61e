/* pelton
[checks]
positive = { sql = "amount > 0", on_fail = "quarantine" }
near = { sql = "amount between -1000 and 1000", on_fail = "quarantine" }
one_each = { sql = "unique(id)", on_fail = "quarantine" }
*/
select id, amount from orders
