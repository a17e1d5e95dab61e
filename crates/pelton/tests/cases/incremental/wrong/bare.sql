/* pelton
build = "interval"

[columns.amount]
checks = [{ check = "not_null", on_fail = "quarantine" }]
*/
select customer, amount, at from orders
