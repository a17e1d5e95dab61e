/* pelton
description = "The line is at 50 in the first data; in the others it is so in the latest fifth alone, and at 30 before."
task = "classification"
target = "y"
key = ["id"]
time = "at"
split = { by = "time", test = "20%" }
accept = ["accuracy >= current - 0.01"]
*/
select id, at, x, y from points
