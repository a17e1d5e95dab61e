/* pelton
description = "The key is the entity and the time."
task = "classification"
target = "returned"
key = ["customer_id", "at"]
time = "at"
features = ["activity"]
learner = ["logistic"]
*/
select customer_id, at, spent, returned from visits
