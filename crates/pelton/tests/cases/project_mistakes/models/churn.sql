/* pelton
task = "classification"
target = "churned"
key = ["customer_id"]
features = ["later", "orders", "offline"]
*/
select customer_id, true as churned from orders
