/* pelton
task = "classification"
target = "y"
key = ["grp"]
*/
select grp, x, y from points
