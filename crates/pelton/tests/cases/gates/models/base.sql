/* pelton
task = "classification"
target = "y"
key = ["id"]
accept = ["average_precision >= 0.99999"]
*/
select id, x, noise, y from points
