select order_id, cast(amount as double) as amount, null as is_heavy from clean
