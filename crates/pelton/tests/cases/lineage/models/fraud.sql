/* pelton
task = "classification"
target = "is_fraud"
key = ["payment_id"]
time = "at"
features = ["activity"]

[derive]
share = "amount / nullif(spent, 0)"
*/
select payment_id, customer_id, at, amount, is_fraud from clean
