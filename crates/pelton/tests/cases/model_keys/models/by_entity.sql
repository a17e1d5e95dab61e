/* pelton
description = "The key is the entity."
task = "classification"
target = "leaves"
key = ["customer_id"]
time = "at"
split = { by = "random", test = "20%" }
features = ["activity"]
learner = ["logistic"]
*/
select customer_id, timestamp '2026-01-28T00:00:00Z' as at, tenure, noise, leaves from customers
