/* pelton
[checks.amount_positive]
sql = "amount > 0"
on_fail = "quarantine"
*/
select payment_id, customer_id, at, amount, amount * rate as euros, note, is_fraud
from payments
join rates using (currency)
where state = 'settled'
