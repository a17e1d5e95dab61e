/* pelton
task = "classification"
target = "y"
key = ["id"]
time = "at"
features = ["activity.mots"]
*/
select id, grp, at, x, y from points
