/* pelton
build = "view"
*/
select id, word from some where id > 1
