/* pelton
description = "Will this payment be charged back within 60 days?"
task     = "classification"
target   = "is_fraud"
key      = ["transaction_id"]
time     = "occurred_at"
features = ["customer_profile", "customer_activity", "customer_device", "device_activity", "merchant_risk"]
exclude  = ["customer_last_paid_at"]     # a date says nothing about payments after it; `seconds_since_last` does
split    = { by = "time", test = "20%" }
learner  = "gbdt"
accept   = ["average_precision >= 0.40", "average_precision >= current - 0.02"]

[derive]
amount_vs_usual        = "amount / nullif(customer_mean_amount_30d, 0)"
amount_vs_most         = "amount / nullif(customer_most_amount_30d, 0)"
seconds_since_last     = "extract(epoch from occurred_at) - extract(epoch from customer_last_paid_at)"
is_abroad              = "country <> home_country"
moved_since_last       = "country <> customer_last_country"
merchant_fraud_rate    = "merchant_chargebacks_90d / nullif(cast(merchant_payments_90d as double), 0)"
hour_of_day            = "extract(hour from occurred_at)"
*/
select p.transaction_id,
       p.customer_id,
       p.merchant_id,
       p.device_id,
       p.occurred_at,
       cast(p.amount as double) as amount,
       p.channel,
       p.country,
       p.wallet,
       p.category,
       c.transaction_id is not null as is_fraud
from payments p
left join chargebacks c
       on c.transaction_id = p.transaction_id and c.reported_at <= p.occurred_at + interval '60 days'
where p.occurred_at < timestamp '2025-11-01'    -- a label needs 60 days to arrive, and the data ends with the year
