/* pelton
build = "merge"
key = "g"
*/
select g, sum(id) as si from s group by g
