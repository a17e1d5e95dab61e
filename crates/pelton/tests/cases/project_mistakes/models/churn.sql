/* pelton
task = "classification"
target = "churned"
key = ["customer_id"]
features = ["later", "orders"]
*/
select customer_id, true as churned from orders
