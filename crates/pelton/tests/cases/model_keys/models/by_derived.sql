/* pelton
description = "The key is read by `derive`."
task = "classification"
target = "leaves"
key = ["customer_id"]
learner = ["logistic"]

[derive]
parity = "customer_id % 2"
*/
select customer_id, tenure, noise, leaves from customers
