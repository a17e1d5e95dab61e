select id, x from points where x > 50
