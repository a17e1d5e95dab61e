select id, grp, x, noise from points
