/* pelton
task = "classification"
target = "y"
key = ["id"]
*/
select id, x, nullif(y, x > 50) as y from points
