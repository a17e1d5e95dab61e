select count(*) as customers from spend
