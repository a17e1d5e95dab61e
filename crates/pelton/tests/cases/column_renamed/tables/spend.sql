/* pelton
[columns.total]
checks = ["between(0, 1000)"]

[checks]
positive = "total > 0"
*/
select order_id, amount * 2 as total from clean
