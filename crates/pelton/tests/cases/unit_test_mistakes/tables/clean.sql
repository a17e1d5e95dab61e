/* pelton
tags = ["core"]

[columns.order_id]
checks = ["not_null", "unique"]

[columns.amount]
checks = [{ check = "not_null", on_fail = "quarantine", tolerance = "1%" }]

[checks]
positive = "amount > 0"
*/
select o.order_id, o.ordered_at, o.amount, o.weight, c.name
from orders o
left join customers c on c.customer_id = o.customer_id
