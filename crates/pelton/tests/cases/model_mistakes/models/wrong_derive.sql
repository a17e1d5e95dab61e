/* pelton
task = "classification"
target = "y"
key = ["id"]

[derive]
twice = "xx * 2"
*/
select id, x, y from points
