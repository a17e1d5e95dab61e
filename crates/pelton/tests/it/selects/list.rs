//! SELECTs that `check` accepts for an incremental build, over `events`, `prices` and the view `known`.

/// Name, time, SELECT. Windows are over rows in an order without ties, so that there is one right answer.
pub(super) const INTERVALS: &[(&str, &str, &str)] = &[
    // Rounded times.
    (
        "days",
        "day",
        "select date_trunc('day', at) as day, k, sum(amount) as s, count(*) filter (where g = 1) as ones from events where at is not null group by 1, 2",
    ),
    (
        "zone_days",
        "day",
        "select date_trunc('day', at at time zone 'Europe/Berlin') as day, sum(amount) as s, count(*) as n from events where at is not null group by 1",
    ),
    (
        "zone_hours",
        "hour",
        "select date_trunc('hour', at at time zone 'Asia/Kolkata') as hour, count(*) as n from events where at is not null group by 1",
    ),
    (
        "zone_weeks",
        "week",
        "select date_trunc('week', at at time zone 'Pacific/Auckland') as week, count(*) as n from events where at is not null group by 1",
    ),
    (
        "zone_dates",
        "day",
        "select cast(at at time zone 'America/New_York' as date) as day, count(*) as n from events where at is not null group by 1",
    ),
    (
        "zone_again",
        "t",
        "select date_trunc('day', (at at time zone 'Asia/Tokyo') at time zone 'America/New_York') as t, count(*) as n from events where at is not null group by 1",
    ),
    (
        "zone_bins",
        "t",
        "select date_bin(interval '6 hours', at at time zone 'Asia/Kolkata') as t, count(*) as n from events where at is not null group by 1",
    ),
    (
        "zone_window",
        "t",
        "select id, t, s from (select id, t, sum(amount) over (order by t range between interval '1 day' preceding and current row) as s from (select *, at at time zone 'Europe/Berlin' as t from events)) where t is not null",
    ),
    (
        "bins",
        "t",
        "select date_bin(interval '7 hours', at) as t, k, sum(amount) as s from events where at is not null group by 1, 2",
    ),
    (
        "small_bins",
        "t",
        "select date_bin(interval '70 microseconds', at) as t, count(*) as n from events where at is not null group by 1",
    ),
    ("seconds", "t", "select cast(at as timestamp(0)) as t, count(*) as n from events where at is not null group by 1"),
    (
        "milliseconds",
        "t",
        "select cast(at as timestamp(3)) as t, count(*) as n from events where at is not null group by 1",
    ),
    (
        "trunc_second",
        "t",
        "select date_trunc('second', at) as t, count(*) as n from events where at is not null group by 1",
    ),
    ("dates", "d", "select cast(at as date) as d, min(id) as least from events where at is not null group by 1"),
    (
        "own_dates",
        "day",
        "select day, count(*) as n, max(amount) as most from events where day is not null group by day",
    ),
    (
        "weeks",
        "week",
        "select date_trunc('week', at) as week, g, count(*) as n from events where at is not null group by 1, 2",
    ),
    (
        "months",
        "month",
        "select date_trunc('month', at) as month, count(*) as n from events where at is not null group by 1",
    ),
    (
        "day_of_hour",
        "d",
        "select date_trunc('day', date_bin(interval '7 hours', at)) as d, count(*) as n from events where at is not null group by 1",
    ),
    (
        "by_day_and_case",
        "day",
        "select date_trunc('day', at) as day, case when extract(hour from at) < 12 then 'a' else 'p' end as half, count(*) as n from events where at is not null group by 1, 2",
    ),
    // Windows.
    (
        "lag",
        "at",
        "select id, at, p, q from (select id, at, lag(amount) over w as p, lag(amount, 2, 0) over w as q from events window w as (order by at nulls first, id)) where at is not null",
    ),
    (
        "lead",
        "at",
        "select id, at, p, q from (select id, at, lead(amount) over w as p, lead(id, 3) over w as q from events window w as (order by at, id)) where at is not null",
    ),
    (
        "lag_turned",
        "at",
        "select id, at, p from (select id, at, lag(amount, -1) over (order by at, id) as p from events) where at is not null",
    ),
    (
        "lead_turned",
        "at",
        "select id, at, p from (select id, at, lead(amount, 1 - 3) over (order by at, id) as p from events) where at is not null",
    ),
    (
        "lag_down",
        "at",
        "select id, at, p from (select id, at, lag(amount) over (partition by k order by at desc nulls first, id) as p from events) where at is not null",
    ),
    (
        "lag_known",
        "at",
        "select id, at, p from (select id, at, lag(amount) ignore nulls over (order by at, id) as p from events) where at is not null",
    ),
    (
        "ranks",
        "at",
        "select id, at, r, d, n from (select id, at, rank() over w as r, dense_rank() over w as d, row_number() over (order by at nulls first, id) as n from events window w as (order by at)) where at is not null",
    ),
    (
        "shares",
        "at",
        "select id, at, r, n from (select id, at, percent_rank() over (order by at) as r, ntile(3) over (order by at, id) as n from events) where at is not null",
    ),
    (
        "rows_between",
        "at",
        "select id, at, s from (select id, at, sum(amount) over (order by at, id rows between 2 preceding and 1 following) as s from events) where at is not null",
    ),
    (
        "rows_after",
        "at",
        "select id, at, s from (select id, at, sum(amount) over (order by at, id rows between 2 following and 4 following) as s from events) where at is not null",
    ),
    (
        "range_around",
        "at",
        "select id, at, s from (select id, at, sum(amount) over (order by at range between interval '1 day' preceding and interval '6 hours' following) as s from events) where at is not null",
    ),
    (
        "range_after",
        "at",
        "select id, at, s from (select id, at, sum(amount) over (order by at range between interval '6 hours' following and interval '1 day' following) as s from events) where at is not null",
    ),
    (
        "range_before",
        "at",
        "select id, at, s from (select id, at, count(*) over (partition by k order by at range between interval '2 days' preceding and interval '1 day' preceding) as s from events) where at is not null",
    ),
    (
        "range_down",
        "at",
        "select id, at, s from (select id, at, sum(amount) over (order by at desc range between interval '1 day' preceding and current row) as s from events) where at is not null",
    ),
    (
        "range_month",
        "at",
        "select id, at, s from (select id, at, sum(amount) over (order by at range between interval '1 month' preceding and current row) as s from events) where at is not null",
    ),
    (
        "range_dates",
        "day",
        "select id, day, s from (select id, day, sum(amount) over (order by day range between interval '2 days' preceding and current row) as s from events) where day is not null",
    ),
    (
        "groups",
        "at",
        "select id, at, s from (select id, at, sum(amount) over (order by at groups between 1 preceding and current row) as s from events) where at is not null",
    ),
    (
        "running_nulls_first",
        "at",
        "select id, at, s from (select id, at, sum(amount) over (order by at nulls first) as s from events) where at is not null",
    ),
    (
        "running_nulls_last",
        "at",
        "select id, at, s from (select id, at, sum(amount) over (order by at desc nulls last) as s from events) where at is not null",
    ),
    (
        "running_down",
        "at",
        "select id, at, s from (select id, at, sum(amount) over (partition by g order by at desc nulls first) as s from events) where at is not null",
    ),
    (
        "ends",
        "at",
        "select id, at, a, b, c from (select id, at, first_value(id) over w as a, last_value(id) over w as b, nth_value(id, 2) over w as c from events window w as (order by at nulls first, id)) where at is not null",
    ),
    (
        "filled",
        "at",
        "select id, at, a from (select id, at, last_value(amount) ignore nulls over (partition by k order by at, id) as a from events) where at is not null",
    ),
    (
        "both_ways",
        "at",
        "select id, at, a, b from (select id, at, sum(amount) over (order by at) as a, count(*) over (order by at desc) as b from events) where at is not null",
    ),
    ("peers", "at", "select id, at, count(*) over (partition by at) as n from events where at is not null"),
    (
        "newest_of_key",
        "at",
        "select id, k, at from (select *, row_number() over (partition by k order by at desc nulls last, id) as r from events) where r = 1 and at is not null",
    ),
    (
        "running_days",
        "day",
        "select day, n, sum(n) over (order by day) as so_far from (select date_trunc('day', at) as day, count(*) as n from events where at is not null group by 1)",
    ),
    (
        "rolling_days",
        "day",
        "select day, n, sum(n) over (order by day range between interval '2 days' preceding and current row) as s from (select date_trunc('day', at) as day, count(*) as n from events where at is not null group by 1)",
    ),
    (
        "rolling_zone",
        "day",
        "select day, n, sum(n) over (order by day range between interval '2 days' preceding and current row) as s from (select date_trunc('day', at at time zone 'Europe/Berlin') as day, count(*) as n from events where at is not null group by 1)",
    ),
    (
        "through_view",
        "at",
        "select id, at, sum(amount) over (order by at range between interval '1 day' preceding and current row) as s from known",
    ),
    // Joins and sets.
    (
        "as_of",
        "at",
        "select e.id, e.at, p.price from events e asof join prices p match_condition (e.at >= p.since) on e.k = p.k where e.at is not null",
    ),
    (
        "as_of_young",
        "at",
        "select e.id, e.at, p.price from events e asof join prices p match_condition (e.at >= p.since and e.at - p.since <= interval '1 day') on e.k = p.k where e.at is not null",
    ),
    (
        "as_of_days",
        "day",
        "select date_trunc('day', e.at) as day, sum(p.price) as s from events e asof join prices p match_condition (e.at >= p.since and e.at - p.since <= interval '1 day') on e.k = p.k where e.at is not null group by 1",
    ),
    (
        "left_join",
        "at",
        "select e.id, e.at, p.price from events e left join prices p on e.at = p.since where e.at is not null",
    ),
    (
        "inner_join",
        "since",
        "select e.id, p.since, p.price from events e join prices p on e.at = p.since and e.k = p.k",
    ),
    (
        "right_join",
        "since",
        "select e.id, p.since, p.price from events e right join prices p on e.at = p.since and e.amount > 3 where p.since is not null",
    ),
    (
        "lookup",
        "at",
        "select e.id, e.at, p.price from events e left join prices p on e.k = p.k and e.at between p.since - interval '1 day' and p.since where e.at is not null",
    ),
    ("semi_join", "at", "select id, at from events where at in (select since from prices)"),
    (
        "no_price",
        "at",
        "select id, at from events e where not exists (select 1 from prices p where p.k = e.k and p.since > e.at) and at is not null",
    ),
    (
        "price_of",
        "at",
        "select id, at, (select max(price) from prices p where p.k = e.k) as price from events e where at is not null",
    ),
    ("except_prices", "at", "select at, k from events where at is not null except select since, k from prices"),
    ("intersect_prices", "at", "select at, k from events where at is not null intersect select since, k from prices"),
    (
        "union_distinct",
        "at",
        "select at, k from events where at is not null union select since, k from prices where since is not null",
    ),
    (
        "union_rounded",
        "t",
        "select date_trunc('day', at at time zone 'Europe/Berlin') as t, k from events where at is not null union all select date_trunc('hour', since) at time zone 'Europe/Berlin', k from prices where since is not null",
    ),
    ("twins", "at", "select a.id, b.id as other, a.at from events a join events b on a.at = b.at and a.id < b.id"),
    (
        "twins_of_days",
        "day",
        "select a.day, count(*) as n from (select cast(at as date) as day, id from events) a join (select cast(at as date) as day, id from events) b on a.day = b.day and a.id < b.id group by a.day",
    ),
    (
        "with_days",
        "day",
        "with d as (select date_trunc('day', at) as day, count(*) as n from events group by 1), e as (select id, date_trunc('day', at) as day from events) select e.id, e.day, d.n from e join d on e.day = d.day",
    ),
    ("distinct_on", "at", "select distinct on (at) at, id from events where at is not null order by at, id desc"),
    ("tags", "at", "select at, id, unnest(tags) as tag from events where at is not null"),
    (
        "tag_days",
        "day",
        "select day, tag, count(*) as n from (select date_trunc('day', at) as day, unnest(tags) as tag from events where at is not null) group by 1, 2",
    ),
];

/// As [`INTERVALS`]; these begin somewhere, wait for late rows, or are told how far they look.
pub(super) const SETTLED: &[(&str, &str, &str, &str)] = &[
    (
        "settled_zone",
        "day",
        "lateness = \"1 day\"\n",
        "select date_trunc('day', at at time zone 'Europe/Berlin') as day, count(*) as n from events where at is not null group by 1",
    ),
    (
        "settled_nulls",
        "at",
        "lateness = \"6 hours\"\n",
        "select id, at, s from (select id, at, sum(amount) over (order by at nulls first) as s from events) where at is not null",
    ),
    (
        "settled_as_of",
        "at",
        "lateness = \"1 day\"\n",
        "select e.id, e.at, p.price from events e asof join prices p match_condition (e.at >= p.since) on e.k = p.k where e.at is not null",
    ),
    (
        "begun",
        "at",
        "start = \"2026-01-03\"\n",
        "select id, at, lag(amount) over (order by at, id) as p from events where at is not null",
    ),
    (
        "begun_lead",
        "at",
        "start = \"1969-12-31\"\nlateness = \"1 day\"\n",
        "select id, at, lead(amount) over (order by at, id) as p from events where at is not null",
    ),
    (
        "looks_back",
        "at",
        "lookback = \"30 days\"\n",
        "select id, at, p from (select id, at, lag(amount) over (order by at nulls first, id) as p from events) where at is not null",
    ),
];

/// Name, settings, SELECT.
pub(super) const MERGES: &[(&str, &str, &str)] = &[
    (
        "newest",
        "key = \"k\"\ntime = \"at\"\n",
        "select k, at, amount, tags, info from events where k is not null and at is not null",
    ),
    (
        "newest_open",
        "key = \"k\"\ntime = \"at\"\ndelete = \"amount < 4\"\n",
        "select k, at, tags, info, amount from events where k is not null and at is not null",
    ),
    (
        "newest_lists",
        "key = \"k\"\ntime = \"day\"\n",
        "select k, day, tags from events where k is not null and day is not null",
    ),
    (
        "newest_structs",
        "key = [\"k\", \"g\"]\ntime = \"day\"\n",
        "select k, g, day, info from events where k is not null and g is not null and day is not null",
    ),
    (
        "newest_of_text",
        "key = \"name\"\ntime = \"at\"\n",
        "select upper(k) as name, at, id from events where k is not null and at is not null",
    ),
    (
        "newest_nanos",
        "key = \"k\"\ntime = \"t\"\n",
        "select k, to_timestamp_nanos(amount * 300) as t, id from events where k is not null and amount is not null",
    ),
    (
        "keys_of_nanos",
        "key = \"t\"\ntime = \"at\"\n",
        "select to_timestamp_nanos(g * 300) as t, at, id from events where g is not null and at is not null",
    ),
    (
        "newest_priced",
        "key = \"k\"\ntime = \"at\"\n",
        "select e.k, e.at, e.id, p.price from events e left join (select k, max(price) as price from prices group by k) p on e.k = p.k where e.k is not null and e.at is not null",
    ),
    (
        "newest_of_both",
        "key = \"k\"\ntime = \"at\"\n",
        "select k, at, amount from events where k is not null and at is not null union all select k, since, price from prices where k is not null and since is not null",
    ),
    (
        "totals",
        "key = \"k\"\n",
        "select k, sum(amount) as s, count(*) filter (where g = 1) as ones, max(at) as newest from events where k is not null group by k",
    ),
    (
        "totals_of_both",
        "key = [\"k\", \"g\"]\n",
        "select k, g, sum(amount) as s from events where k is not null and g is not null group by k, g",
    ),
    (
        "totals_by_parity",
        "key = [\"k\", \"odd\"]\n",
        "select k, g % 2 as odd, count(*) as n from events where k is not null and g is not null group by 1, 2",
    ),
    ("totals_of_times", "key = \"at\"\n", "select at, count(*) as n from events where at is not null group by at"),
    (
        "totals_of_zone",
        "key = \"t\"\n",
        "select at at time zone 'Europe/Berlin' as t, count(*) as n from events where at is not null group by 1",
    ),
    (
        "totals_of_dates",
        "key = \"t\"\n",
        "select cast(day as timestamp) as t, count(*) as n from events where day is not null group by 1",
    ),
    (
        "joined_totals",
        "key = [\"k\", \"price\"]\n",
        "select e.k, p.price, count(*) as n from events e join prices p on e.k = p.k where p.price is not null group by e.k, p.price",
    ),
    (
        "all_keys",
        "key = \"k\"\n",
        "select k from events where k is not null union select k from prices where k is not null",
    ),
    ("keys_without_price", "key = \"k\"\n", "select k from events where k is not null except select k from prices"),
    ("keys_with_price", "key = \"k\"\n", "select k from events where k is not null intersect select k from prices"),
    (
        "first_of_key",
        "key = \"k\"\n",
        "select distinct on (k) k, id, at from events where k is not null order by k, at desc nulls last, id",
    ),
    (
        "last_of_key",
        "key = \"k\"\n",
        "select k, id, p from (select k, id, lag(amount) over (partition by k order by at, id) as p, row_number() over (partition by k order by at desc, id desc) as r from events) where r = 1 and k is not null",
    ),
    (
        "unpriced",
        "key = \"k\"\n",
        "select k, count(*) as n from events e where not exists (select 1 from prices p where p.k = e.k) and k is not null group by k",
    ),
    (
        "priced_in",
        "key = \"k\"\n",
        "select k, count(*) as n from events where k in (select k from prices where price > 3) group by k",
    ),
    (
        "not_priced_in",
        "key = \"k\"\n",
        "select k, count(*) as n from events where k is not null and k not in (select k from prices where k is not null) group by k",
    ),
    (
        "price_keys",
        "key = \"k\"\n",
        "select p.k, count(e.id) as n from events e right join (select distinct k from prices) p on e.k = p.k where p.k is not null group by p.k",
    ),
    (
        "left_keys",
        "key = \"k\"\n",
        "select e.k, count(p.price) as n, max(p.since) as newest from events e left join prices p on e.k = p.k and p.price > 2 where e.k is not null group by e.k",
    ),
    (
        "max_price",
        "key = \"k\"\n",
        "select k, max(amount) as most, (select max(price) from prices) as top from events where k is not null group by k",
    ),
    (
        "as_of_totals",
        "key = \"k\"\n",
        "select e.k, sum(p.price) as s from events e asof join prices p match_condition (e.at >= p.since) on e.k = p.k where e.k is not null group by e.k",
    ),
    (
        "pairs",
        "key = \"k\"\n",
        "select a.k, count(*) as n from events a join events b on a.k = b.k and a.at between b.at - interval '1 day' and b.at group by a.k",
    ),
    (
        "doubled",
        "key = \"k\"\n",
        "select e.k, max(e.amount) as most, max(t.s) as s from events e join totals t on e.k = t.k group by e.k",
    ),
    (
        "tag_totals",
        "key = [\"k\", \"tag\"]\n",
        "select k, tag, count(*) as n from (select k, unnest(tags) as tag from events) where k is not null and tag is not null group by 1, 2",
    ),
];

pub(super) const HISTORIES: &[(&str, &str, &str)] = &[
    (
        "states",
        "key = \"k\"\ntime = \"at\"\n",
        "select k, at, amount, g from events where k is not null and at is not null",
    ),
    (
        "states_tracked",
        "key = \"k\"\ntime = \"at\"\ntrack = \"g\"\n",
        "select k, at, g, amount, tags, info from events where k is not null and at is not null",
    ),
    (
        "states_ended",
        "key = \"k\"\ntime = \"at\"\ntrack = [\"amount\"]\ndelete = \"g = 1\"\n",
        "select k, at, amount, g from events where k is not null and at is not null",
    ),
    (
        "states_nested",
        "key = \"k\"\ntime = \"at\"\n",
        "select k, at, tags, info from events where k is not null and at is not null",
    ),
    (
        "states_of_both",
        "key = \"k\"\ntime = \"at\"\n",
        "select k, at, amount from events where k is not null and at is not null union all select k, since, price from prices where k is not null and since is not null",
    ),
    (
        "states_priced",
        "key = \"k\"\ntime = \"at\"\n",
        "select e.k, e.at, p.price from events e asof join prices p match_condition (e.at >= p.since) on e.k = p.k where e.k is not null and e.at is not null",
    ),
];

pub(super) const APPENDS: &[(&str, &str)] = &[
    ("lines", "select id, k, amount * 2 as twice, case when amount > 4 then at else null end as t from events"),
    ("twice", "select id, at from events union all select id, at from events where g = 1"),
    ("tag_lines", "select id, unnest(tags) as tag from events"),
    ("priced_lines", "select e.id, p.price from events e left join prices p on e.k = p.k"),
    ("crossed", "select e.id, p.n from events e cross join (select count(*) as n from prices) p"),
    ("semi_lines", "select id from events where k in (select k from prices)"),
    ("anti_lines", "select id from events e where not exists (select 1 from prices p where p.k = e.k)"),
    (
        "as_of_lines",
        "select e.id, p.price from events e asof join prices p match_condition (e.at >= p.since) on e.k = p.k",
    ),
    ("viewed_lines", "select id, at from known where amount > 2"),
];
