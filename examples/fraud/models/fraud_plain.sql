/* pelton
description = "The same question, asked of the payment alone: what the features are worth is the difference to `fraud`."
task     = "classification"
target   = "is_fraud"
key      = ["transaction_id"]
time     = "occurred_at"
split    = { by = "time", test = "20%" }
learner  = ["gbdt", "logistic"]

[derive]
hour_of_day = "extract(hour from occurred_at)"
*/
select p.transaction_id,
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
where p.occurred_at < timestamp '2025-11-01'
