/* pelton
entity = "customer"
time = "at"
*/
select order_id, customer, amount, to_timestamp(order_id * 3600) as at
from orders where amount >= 10
