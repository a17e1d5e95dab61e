with scored as (
    select id, score from predict(over, timeless) as p
)
select id, score from scored
