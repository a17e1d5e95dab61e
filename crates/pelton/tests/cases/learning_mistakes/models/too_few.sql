/* pelton
task = "classification"
target = "y"
key = ["id"]
*/
select id, x, y from points where id < 6
