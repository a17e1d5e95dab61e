/* pelton
task = "classification"
target = "y"
key = ["id"]
accept = ["average_precision >= current - 0.01"]
*/
select id, x, noise, y from points
