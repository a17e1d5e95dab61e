select * from points where id < 10
