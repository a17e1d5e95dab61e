/* pelton
description = "Is the point over the line?"
task = "classification"
target = "y"
key = ["id"]
time = "at"
features = ["activity"]
learner = ["gbdt", "logistic"]
accept = ["average_precision >= 0.5"]
*/
select id, grp, at, x, noise, y from points
