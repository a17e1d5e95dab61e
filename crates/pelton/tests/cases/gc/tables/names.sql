/* pelton
build = "view"
*/
select distinct customer from big
