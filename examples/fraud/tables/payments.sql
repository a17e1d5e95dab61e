/* pelton
description = "Payments that can be believed, each with what its merchant sells."

[columns.transaction_id]
checks = ["not_null", "unique"]

[columns.occurred_at]
checks = ["not_null"]

[columns.customer_id]
checks = ["not_null", "references(customers.customer_id)"]

[columns.merchant_id]
description = "Some terminals are older than the list of merchants; their payments wait in quarantine."
checks = [{ check = "references(merchants.merchant_id)", on_fail = "quarantine", tolerance = "1%" }]

[columns.amount]
description = "Euros."
checks = [
    { check = "not_null", on_fail = "quarantine", tolerance = "1%" },
    { check = "between(0.01, 50000)", on_fail = "quarantine", tolerance = "1%" },
]

[columns.channel]
checks = ["accepted('pos', 'contactless', 'ecom')"]

[columns.country]
checks = ["matches('^[A-Z]{2}$')"]

[checks]
has_rows = "row_count() > 0"
in_the_year = "occurred_at >= timestamp '2025-01-01' and occurred_at < timestamp '2026-01-01'"
*/
select t.transaction_id,
       t.occurred_at,
       t.customer_id,
       t.merchant_id,
       t.device_id,
       t.amount,
       lower(t.channel) as channel,
       t.country,
       t.wallet,
       m.category
from transactions t
left join merchants m on m.merchant_id = t.merchant_id
