/* pelton
task = "regression"
target = "hash"
key = ["id"]
*/
select id, id % 2 as parity, cast((id * 7919 + 13) * 104729 % 1000 + 1 as double) as hash from points
