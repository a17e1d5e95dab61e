/* pelton
description = "What each device did, whoever used it: a device that tries many cards is a thief's."
entity   = "device_id"
time     = "occurred_at"
known_at = "known_at"
*/
with payment as (
    select device_id,
           occurred_at,
           amount,
           case when customer_id = lag(customer_id) over (partition by device_id order by occurred_at, transaction_id)
                then 0 else 1 end as other_customer
    from payments
    where device_id is not null
)
select device_id,
       occurred_at,
       occurred_at + interval '1 second' as known_at,
       count(*) over hour as device_payments_1h,
       cast(min(amount) over hour as double) as device_least_amount_1h,
       sum(other_customer) over week as device_customers_7d
from payment
window hour as (partition by device_id order by occurred_at range between interval '1 hour' preceding and current row),
       week as (partition by device_id order by occurred_at range between interval '7 days' preceding and current row)
