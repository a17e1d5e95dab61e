select id, grp, at, cast(x as text) as x, noise from points
