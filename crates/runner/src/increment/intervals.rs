//! `interval`: the intervals of time that changed rows of the input touch are built anew, the others stay.
//!
//! Which intervals there are is a function of the input too: from `start` on, and with `lateness` up to the last one that ended so long
//! before the newest row. `backfill` adds ranges before `start`.

use super::base::{self, Base, Changed, restrict, whole_name};
use super::ranges::{self, Range};
use super::replace::{self, Mask, internal};
use super::{Before, Rows, Stop, Work};
use crate::shape;
use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use futures::StreamExt;
use pelton_base::{DAY_US, Grain, format_time_us, parse_time_us, thousands};
use pelton_query::{Catalog, DataFile, LocalColumn, Origin, Relation, sql, types};
use std::collections::HashSet;
use std::sync::Arc;

/// More ranges than this make a condition longer than what it saves.
const RANGES_MAX: usize = 64;

/// Of more touched intervals than this something between them is built too: they are held in memory.
const TOUCHED_MAX: usize = 100_000;

/// The times that a version has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Times {
    pub(crate) ranges: Vec<Range>,
    /// Those that were asked for beside what `start` says.
    pub(crate) backfilled: Vec<Range>,
}

/// The build of only what changed.
pub(crate) async fn build(work: &Work<'_>, base: &Base, before: &Before, cover: &[Range]) -> Result<Rows, Stop> {
    let grain = grain(work);
    let locality = work.locality(&work.sql)?;
    let time = time_of(work);
    let local = bounded(work, locality.column(time).cloned());
    let times = wanted(work, &local, Some(before), cover).await?;
    let changed = base.changed(work, before, &locality.inputs)?;
    let mut touched = HashSet::new();
    for input in &changed {
        if local.of(&input.name).next().is_none() {
            return Err(Stop::Anew(format!("`{}` changed, and the SQL does not tie its rows to `{time}`", input.name)));
        }
        touch(work, input, &local, grain, &mut touched).await?;
    }
    let had = &before.memory.ranges;
    let touched = ranges::both(&ranges::normal(touched.into_iter().collect()), &times.ranges);
    let covered = ranges::union(&ranges::minus(&times.ranges, had), &ranges::minus(had, &times.ranges));
    let touched = ranges::coarser(ranges::union(&touched, &covered), RANGES_MAX);
    let (schema, memory) = (work.schema.clone(), Some(base.memory(times.clone())));
    let wanted = times.ranges;
    if touched.is_empty() {
        let how = Some("no interval built".into());
        return Ok(Rows { schema, files: before.version.files.to_vec(), staged: Vec::new(), how, memory });
    }
    let built = ranges::both(&touched, &wanted);
    work.building.progress(&work.node.name, format!("building {}", said(&built, grain)));
    let how = Some(format!("{} built", said(&built, grain)));
    let new = match built.is_empty() {
        true => Vec::new(),
        false => stage_parts(work, &local, parts(&built, cover)).await?,
    };
    let left = {
        let may_hold = |file: &DataFile| match time_range(file, time) {
            Some((least, greatest)) => !ranges::both(&touched, &[(least, greatest.saturating_add(1))]).is_empty(),
            None => true,
        };
        replace::without(work, (&before.version.files, None), &[time], may_hold, mask(time, touched.clone())).await
    };
    let (files, staged) = replace::together(work, Ok(new), left)?;
    Ok(Rows { schema, files, staged, how, memory })
}

/// The ranges to build, split where `cover` says so: each part is built by a query of its own.
fn parts(built: &[Range], cover: &[Range]) -> Vec<Vec<Range>> {
    let covered = ranges::normal(cover.to_vec());
    let asked = cover.iter().map(|range| ranges::both(built, &[*range]));
    asked.chain([ranges::minus(built, &covered)]).filter(|part| !part.is_empty()).collect()
}

/// Stages parts, all at the same time; where one fails, what was staged for the others is deleted.
async fn stage_parts(work: &Work<'_>, local: &LocalColumn, parts: Vec<Vec<Range>>) -> Result<Vec<DataFile>, Stop> {
    let staging = parts.iter().enumerate().map(|(at, part)| async move {
        let name = if at == 0 { String::new() } else { format!("-{at}p") };
        work.stage(&restricted(work, local, part), &of_ranges(work, part), &name).await
    });
    let (mut files, mut stopped) = (Vec::new(), None);
    for staged in futures::future::join_all(staging).await {
        match staged {
            Ok(staged) => files.extend(staged),
            Err(stop) => stopped = stopped.or(Some(stop)),
        }
    }
    match stopped {
        None => Ok(files),
        Some(stop) => {
            base::discard(work, &files);
            Err(stop)
        }
    }
}

/// The SELECT of everything, and the ranges that it is of.
pub(crate) async fn whole(work: &Work<'_>, before: Option<&Before>, cover: &[Range]) -> Result<(String, Times), Stop> {
    let locality = work.locality(&work.sql)?;
    let local = bounded(work, locality.column(time_of(work)).cloned());
    let times = wanted(work, &local, before, cover).await?;
    Ok((of_ranges(work, &times.ranges), times))
}

fn time_of<'a>(work: &Work<'a>) -> &'a str {
    work.table.time.as_ref().map_or("", |time| time.value.as_str())
}

fn grain(work: &Work<'_>) -> Grain {
    work.table.increment.interval.unwrap_or(Grain::FINEST)
}

/// The time column with the owner's word on how far back the nearest rows lie that the SELECT looks at, where the SQL does not bound it.
fn bounded(work: &Work<'_>, local: Option<LocalColumn>) -> LocalColumn {
    let mut local = local.unwrap_or_else(|| LocalColumn { name: time_of(work).into(), origins: Vec::new() });
    for origin in &mut local.origins {
        if let (i64::MAX, false, Some(lookback_us)) =
            (origin.before_us, origin.all_before, work.table.increment.lookback_us)
        {
            origin.before_us = lookback_us;
        }
    }
    local
}

/// The times that the version is to have.
async fn wanted(work: &Work<'_>, local: &LocalColumn, before: Option<&Before>, cover: &[Range]) -> Result<Times, Stop> {
    let (grain, settings) = (grain(work), &work.table.increment);
    let until = match settings.lateness_us {
        None => i64::MAX,
        Some(lateness_us) => match newest(work, local).await? {
            Some(newest) => grain.floor(newest.saturating_sub(lateness_us)),
            None => i64::MIN,
        },
    };
    let start = settings.start_us.map_or(i64::MIN, |start| grain.floor(start));
    let whole = |(from, to): &Range| (grain.floor(*from), grain.end(to.saturating_sub(1)));
    let asked = ranges::normal(cover.iter().map(whole).collect());
    let backfilled = ranges::union(before.map_or(&[], |before| &before.memory.backfilled), &asked);
    let wanted = ranges::union(&[(start, i64::MAX)], &backfilled);
    Ok(Times { ranges: ranges::both(&wanted, &[(i64::MIN, until)]), backfilled })
}

/// The newest time in the inputs.
async fn newest(work: &Work<'_>, local: &LocalColumn) -> Result<Option<i64>, Stop> {
    let mut newest = None;
    for origin in &local.origins {
        let select = format!("select max({}) from {}", sql::ident(&origin.column), sql::ident(&origin.input));
        each_time(work, work.catalog, &select, |at| newest = newest.max(at)).await?;
    }
    Ok(newest)
}

/// Calls `take` with each time of a SELECT of one column.
async fn each_time(
    work: &Work<'_>,
    catalog: &Catalog,
    select: &str,
    mut take: impl FnMut(Option<i64>),
) -> Result<(), Stop> {
    let stream = work.building.ctx.engine.query(catalog, select).await.map_err(|error| work.failed(&error))?;
    let mut batches = stream.batches;
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|error| work.failed(&error))?;
        let times = micros(batch.column(0)).map_err(|error| work.failed(&error))?;
        times.as_primitive::<TimestampMicrosecondType>().iter().for_each(&mut take);
    }
    Ok(())
}

fn micros(column: &ArrayRef) -> Result<ArrayRef, pelton_query::QueryError> {
    cast(column, &types::timestamp()).map_err(|error| internal(&error))
}

/// Marks the intervals whose rows depend on rows that changed.
async fn touch(
    work: &Work<'_>,
    input: &Changed,
    local: &LocalColumn,
    grain: Grain,
    touched: &mut HashSet<Range>,
) -> Result<(), Stop> {
    for origin in local.of(&input.name) {
        let mut catalog = Catalog::default();
        let select = input.rows(&mut catalog, &[&origin.column]);
        let mut is_missing = false;
        each_time(work, &catalog, &select, |at| match at {
            Some(at) => {
                touched.insert(reached(origin, at, grain));
                if touched.len() > TOUCHED_MAX {
                    let fewer = ranges::coarser(ranges::normal(touched.drain().collect()), RANGES_MAX);
                    touched.extend(fewer);
                }
            }
            None => is_missing = true,
        })
        .await?;
        if is_missing {
            return Err(Stop::Anew(format!("a changed row of `{}` has no `{}`", input.name, origin.column)));
        }
    }
    Ok(())
}

/// The intervals in which results lie that depend on an input's time.
fn reached(origin: &Origin, at: i64, grain: Grain) -> Range {
    let at = origin.rounded.floor(at);
    let from = match origin.after_us {
        i64::MAX => i64::MIN,
        after_us => grain.floor(at.saturating_sub(after_us)),
    };
    let to = match origin.before_us {
        i64::MAX => i64::MAX,
        before_us => grain.end(at.saturating_add(before_us)),
    };
    (from, to)
}

/// The times of an input on which results in a range depend.
fn needed(origin: &Origin, (from, to): Range) -> Range {
    let from = match (from, origin.before_us) {
        (i64::MIN, _) | (_, i64::MAX) => i64::MIN,
        (from, before_us) => from.saturating_sub(before_us),
    };
    let to = match (to, origin.after_us) {
        (i64::MAX, _) | (_, i64::MAX) => i64::MAX,
        // What is rounded down to before the end may itself lie up to a step later.
        (to, after_us) => {
            let end = to.saturating_add(after_us);
            if origin.rounded.floor(end) == end { end } else { origin.rounded.end(end) }
        }
    };
    (from, to)
}

/// The inputs restricted to what the ranges need.
fn restricted(work: &Work<'_>, local: &LocalColumn, built: &[Range]) -> Catalog {
    let mut catalog = work.catalog.clone();
    let inputs: std::collections::BTreeSet<&str> = local.origins.iter().map(|origin| origin.input.as_str()).collect();
    for input in inputs {
        let Some(Relation::Files { schema, .. }) = work.catalog.relations.get(input) else { continue };
        let condition = |origin: &Origin| {
            let needed = ranges::normal(built.iter().map(|range| needed(origin, *range)).collect());
            let field = schema.field_with_name(&origin.column).ok()?;
            let within = shape::within(&origin.column, field.data_type(), &days(field.data_type(), &needed));
            // Where a window looks without end, rows without a time lie there too.
            Some(if origin.nulls { format!("{within} or {} is null", sql::ident(&origin.column)) } else { within })
        };
        if let Some(conditions) = local.of(input).map(condition).collect::<Option<Vec<String>>>() {
            let whole = sql::ident(&whole_name(input));
            restrict(&mut catalog, input, format!("select * from {whole} where {}", conditions.join(" or ")));
        }
    }
    catalog
}

/// Ranges for a column of dates begin and end at midnight.
fn days(data_type: &DataType, ranges: &[Range]) -> Vec<Range> {
    if *data_type != DataType::Date32 {
        return ranges.to_vec();
    }
    let day = Grain::Us(DAY_US);
    let up = |us: i64| if us == i64::MAX { us } else { day.floor(us.saturating_add(DAY_US - 1)) };
    let down = |us: i64| if us == i64::MIN { us } else { day.floor(us) };
    ranges::normal(ranges.iter().map(|(from, to)| (down(*from), up(*to))).collect())
}

/// The SELECT of the rows in ranges, in the order of time, so that files are of narrow times.
fn of_ranges(work: &Work<'_>, wanted: &[Range]) -> String {
    let time = time_of(work);
    let rows = shape::nested(&work.sql);
    let condition = match (wanted, work.schema.field_with_name(time)) {
        ([(i64::MIN, i64::MAX)], _) | (_, Err(_)) => String::new(),
        (_, Ok(field)) => format!(" where {}", shape::within(time, field.data_type(), wanted)),
    };
    format!("select * from {rows} as pelton_rows{condition} order by {}", sql::ident(time))
}

/// Marks rows whose time lies in ranges.
fn mask(time: &str, touched: Vec<Range>) -> Mask {
    let time = time.to_string();
    Arc::new(move |batch| {
        let column = batch.column_by_name(&time).ok_or_else(|| internal(&"the time column is missing"))?;
        let times = micros(column)?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        Ok(times.iter().map(|at| Some(at.is_some_and(|at| ranges::holds(&touched, at)))).collect())
    })
}

/// The least and the greatest time in a file, as its statistics have it.
fn time_range(file: &DataFile, column: &str) -> Option<Range> {
    let stats: serde_json::Value = serde_json::from_str(file.stats.as_ref()?).ok()?;
    let bound = |which: &str| parse_time_us(stats.get(which)?.get(column)?.as_str()?);
    Some((bound("minValues")?, bound("maxValues")?))
}

fn said(ranges: &[Range], grain: Grain) -> String {
    match ranges {
        [] => "no interval".into(),
        [(i64::MIN, i64::MAX)] => "all intervals".into(),
        [(i64::MIN, to), ..] => format!("the intervals until {}", format_time_us(*to)),
        [.., (from, i64::MAX)] => format!("the intervals from {} on", format_time_us(*from)),
        _ => match ranges.iter().map(|range| grain.count(*range)).sum::<u64>() {
            1 => format!("the interval from {}", format_time_us(ranges[0].0)),
            many => format!("{} intervals", thousands(many)),
        },
    }
}
