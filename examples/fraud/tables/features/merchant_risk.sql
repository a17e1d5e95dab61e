/* pelton
description = "Payments and chargebacks of each merchant in 90 days, as known at each moment: a chargeback counts from the day it is reported."
entity   = "merchant_id"
time     = "happened_at"
known_at = "known_at"

[checks]
counts_add_up = "merchant_chargebacks_30d <= merchant_chargebacks_90d"
*/
with event as (
    select merchant_id, occurred_at as happened_at, 1 as payment, 0 as chargeback
    from payments
    union all
    select p.merchant_id, c.reported_at as happened_at, 0 as payment, 1 as chargeback
    from chargebacks c
    join payments p on p.transaction_id = c.transaction_id
)
select merchant_id,
       happened_at,
       happened_at + interval '1 second' as known_at,
       sum(payment) over quarter as merchant_payments_90d,
       sum(chargeback) over month as merchant_chargebacks_30d,
       sum(chargeback) over quarter as merchant_chargebacks_90d
from event
window month   as (partition by merchant_id order by happened_at range between interval '30 days' preceding and current row),
       quarter as (partition by merchant_id order by happened_at range between interval '90 days' preceding and current row)
