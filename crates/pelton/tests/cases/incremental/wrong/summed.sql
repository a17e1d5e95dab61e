/* pelton
build = "append"
*/
select total from by_customer
