/* pelton
task = "classification"
target = "size"
key = ["id"]
accept = ["accuracy >= 0.3", "roc_auc >= 0.8"]
*/
select id, x, noise, case when x < 30 then 'low' when x < 70 then 'middle' else 'high' end as size from points
