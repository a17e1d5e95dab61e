/* pelton
entity = "customer_id"
time = "at"
*/
select customer_id, at, sum(euros) over (partition by customer_id order by at) as spent
from clean
