select id, grp, at, cast(x as int) as x, noise from points
