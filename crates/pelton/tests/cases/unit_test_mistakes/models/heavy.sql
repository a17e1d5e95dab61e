/* pelton
task = "classification"
target = "is_heavy"
key = ["order_id"]
learner = "logistic"

[derive]
half = "amount / 2"
*/
select order_id, cast(amount as double) as amount, weight > 50 as is_heavy from clean
