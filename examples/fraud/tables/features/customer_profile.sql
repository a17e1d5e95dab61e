/* pelton
description = "What is known of a customer from the day of signing up."
entity = "customer_id"
time   = "signed_up_at"
*/
select customer_id, signed_up_at, home_country, segment
from customers
