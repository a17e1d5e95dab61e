/* pelton
build = "view"
*/
select date_trunc('day', at) as day, count(*) as payments, sum(euros) as euros
from clean
group by 1
