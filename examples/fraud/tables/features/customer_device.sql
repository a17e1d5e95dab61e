/* pelton
description = "How well a customer's device is known: how often this customer used it before."
entity   = ["customer_id", "device_id"]
time     = "occurred_at"
known_at = "known_at"
*/
select customer_id,
       device_id,
       occurred_at,
       occurred_at + interval '1 second' as known_at,
       count(*) over (partition by customer_id, device_id order by occurred_at
                      range between unbounded preceding and current row) as device_uses_by_customer
from payments
where device_id is not null
