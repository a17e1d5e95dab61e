/* pelton
task = "classification"
target = "y"
key = ["id"]
*/
select id, x, case when y then 1.0 else 0.0 end as answer, y from points
