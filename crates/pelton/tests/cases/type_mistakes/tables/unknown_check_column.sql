/* pelton
[checks]
positive = "amout > 0"
*/
select order_id, amount from orders
