-- The mistake stands in the fourth line.

-- Here:
select custmer_id, sum(amount) as total from orders group by 1
