select id, grp, at, x from points
