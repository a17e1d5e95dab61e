-- The training set of the example's model `fraud` as one table, for the comparison of learners: its inputs, its target, and the
-- part, the last fifth by time. The derived columns are those of models/fraud.sql.
with example as (
    select p.transaction_id, p.customer_id, p.merchant_id, p.device_id, p.occurred_at, cast(p.amount as double) as amount,
           p.channel, p.country, p.wallet, p.category, c.transaction_id is not null as is_fraud
    from payments p
    left join chargebacks c
           on c.transaction_id = p.transaction_id and c.reported_at <= p.occurred_at + interval '60 days'
    where p.occurred_at < timestamp '2025-11-01'
),
featured as (
    select e.transaction_id, e.occurred_at, e.amount, e.channel, e.country, e.wallet, e.category, e.is_fraud,
           u.home_country, u.segment,
           a.customer_last_paid_at, a.customer_last_country, a.customer_last_amount,
           a.customer_payments_1h, a.customer_payments_24h, a.customer_spend_24h,
           a.customer_payments_30d, a.customer_mean_amount_30d, a.customer_most_amount_30d,
           o.device_uses_by_customer,
           d.device_payments_1h, d.device_least_amount_1h, d.device_customers_7d,
           m.merchant_payments_90d, m.merchant_chargebacks_30d, m.merchant_chargebacks_90d
    from example e
    asof join customer_profile u match_condition (e.occurred_at >= u.signed_up_at) on e.customer_id = u.customer_id
    asof join customer_activity a match_condition (e.occurred_at >= a.known_at) on e.customer_id = a.customer_id
    asof join customer_device o match_condition (e.occurred_at >= o.known_at)
              on e.customer_id = o.customer_id and e.device_id = o.device_id
    asof join device_activity d match_condition (e.occurred_at >= d.known_at) on e.device_id = d.device_id
    asof join merchant_risk m match_condition (e.occurred_at >= m.known_at) on e.merchant_id = m.merchant_id
)
select case when percent_rank() over (order by occurred_at, transaction_id) < 0.8 then 'train' else 'test' end as part,
       is_fraud, amount, channel, country, wallet, category, home_country, segment,
       customer_last_country, customer_last_amount, customer_payments_1h, customer_payments_24h, customer_spend_24h,
       customer_payments_30d, customer_mean_amount_30d, customer_most_amount_30d, device_uses_by_customer,
       device_payments_1h, device_least_amount_1h, device_customers_7d,
       merchant_payments_90d, merchant_chargebacks_30d, merchant_chargebacks_90d,
       amount / nullif(customer_mean_amount_30d, 0) as amount_vs_usual,
       amount / nullif(customer_most_amount_30d, 0) as amount_vs_most,
       extract(epoch from occurred_at) - extract(epoch from customer_last_paid_at) as seconds_since_last,
       country <> home_country as is_abroad,
       country <> customer_last_country as moved_since_last,
       merchant_chargebacks_90d / nullif(cast(merchant_payments_90d as double), 0) as merchant_fraud_rate,
       extract(hour from occurred_at) as hour_of_day
from featured
order by occurred_at, transaction_id
