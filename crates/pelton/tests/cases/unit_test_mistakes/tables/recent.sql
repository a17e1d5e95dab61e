/* pelton
build = "view"
*/
select order_id from clean where ordered_at > now() - interval '1 day'
