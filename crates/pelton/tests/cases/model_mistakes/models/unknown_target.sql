/* pelton
task = "classification"
target = "yy"
key = ["id"]
*/
select id, x, y from points
