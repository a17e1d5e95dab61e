/* pelton
task = "classification"
target = "y"
key = ["id"]
time = "at"
features = ["activity"]
accept = ["average_precision >= 0.5"]
*/
select id, grp, at, x, noise, y from points
