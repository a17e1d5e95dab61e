/* pelton
description = "A number."
task = "regression"
target = "height"
key = ["id"]
learner = ["linear", "gbdt"]
accept = ["r2 >= 0.5", "rmse <= current + 1"]
*/
select id, x, noise, 3 * x + noise / 4 as height from points
