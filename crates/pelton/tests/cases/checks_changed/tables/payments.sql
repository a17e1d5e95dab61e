/* pelton
[checks]
small = "amount < 1000"
not_blocked = "select p.* from payments p join blocked b on b.customer_id = p.customer_id"
*/
select order_id, customer_id, amount from orders
