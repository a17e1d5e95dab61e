/* pelton
description = "What was seen of a group at a time."
entity = "grp"
time = "at"
*/
select grp, at, max(x) as most, count(*) as seen from points group by grp, at
