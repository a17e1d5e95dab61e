/* pelton
task = "classification"
target = "side"
key = ["id"]
learner = ["logistic"]
*/
select id, x, noise, case when x + noise / 8 < 55 then 0 else 1 end as side from points
