/* pelton
task = "regression"
target = "word"
key = ["id"]
*/
select id, x, 'a' as word from points
