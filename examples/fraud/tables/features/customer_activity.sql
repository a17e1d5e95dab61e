/* pelton
description = "What each customer did up to and with each payment."
entity   = "customer_id"
time     = "occurred_at"
known_at = "known_at"       # a second later: a payment never sees itself, in training as at the endpoint

[columns.customer_last_paid_at]
description = "When this payment was made: `fraud` derives the time since."

[columns.customer_payments_1h]
description = "Payments within the hour that ends with this one."
checks = ["not_null", "between(1, 100000)"]

[columns.customer_spend_24h]
description = "Euros within the day that ends with this payment."
checks = ["not_null"]

[columns.customer_mean_amount_30d]
description = "What this customer usually pays."
checks = ["not_null"]

[checks]
longer_windows_hold_more = "customer_payments_1h <= customer_payments_24h and customer_payments_24h <= customer_payments_30d"
*/
select customer_id,
       occurred_at,
       occurred_at + interval '1 second' as known_at,
       occurred_at as customer_last_paid_at,
       country as customer_last_country,
       cast(amount as double) as customer_last_amount,
       count(*) over hour as customer_payments_1h,
       count(*) over day as customer_payments_24h,
       cast(sum(amount) over day as double) as customer_spend_24h,
       count(*) over month as customer_payments_30d,
       cast(avg(amount) over month as double) as customer_mean_amount_30d,
       cast(max(amount) over month as double) as customer_most_amount_30d
from payments
window hour  as (partition by customer_id order by occurred_at range between interval '1 hour' preceding and current row),
       day   as (partition by customer_id order by occurred_at range between interval '24 hours' preceding and current row),
       month as (partition by customer_id order by occurred_at range between interval '30 days' preceding and current row)
