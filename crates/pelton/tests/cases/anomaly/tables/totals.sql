/* pelton
[anomaly]
on_fail = "stop"
sensitivity = "low"
*/
select order_id, amount from orders where amount > 0
