//! Sets of times as ranges, each from its first microsecond to before its last; in order, and none touches the next.

/// `i64::MIN` and `i64::MAX` are without end.
pub(crate) type Range = (i64, i64);

/// Puts ranges in order, and those together that overlap or touch.
pub(crate) fn normal(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.retain(|(from, to)| from < to);
    ranges.sort_unstable();
    let mut out: Vec<Range> = Vec::with_capacity(ranges.len());
    for (from, to) in ranges {
        match out.last_mut() {
            Some((_, end)) if from <= *end => *end = (*end).max(to),
            _ => out.push((from, to)),
        }
    }
    out
}

/// What is in one of both.
pub(crate) fn union(a: &[Range], b: &[Range]) -> Vec<Range> {
    normal(a.iter().chain(b).copied().collect())
}

/// What is in both.
pub(crate) fn both(a: &[Range], b: &[Range]) -> Vec<Range> {
    let (mut out, mut i, mut j) = (Vec::new(), 0, 0);
    while let (Some((a_from, a_to)), Some((b_from, b_to))) = (a.get(i), b.get(j)) {
        let (from, to) = (*a_from.max(b_from), *a_to.min(b_to));
        if from < to {
            out.push((from, to));
        }
        if a_to < b_to { i += 1 } else { j += 1 }
    }
    out
}

/// What is in `a` and not in `b`.
pub(crate) fn minus(a: &[Range], b: &[Range]) -> Vec<Range> {
    let mut rest = Vec::with_capacity(b.len() + 1);
    let mut from = i64::MIN;
    for (begin, end) in b {
        rest.push((from, *begin));
        from = *end;
    }
    rest.push((from, i64::MAX));
    rest.retain(|(from, to)| from < to);
    both(a, &rest)
}

/// Whether a time lies in one of the ranges. `i64::MAX` as an end includes everything.
pub(crate) fn holds(ranges: &[Range], at: i64) -> bool {
    let after = ranges.partition_point(|(from, _)| *from <= at);
    after > 0 && (at < ranges[after - 1].1 || ranges[after - 1].1 == i64::MAX)
}

/// At most `most` ranges that hold all of these, and something between them.
pub(crate) fn coarser(ranges: Vec<Range>, most: usize) -> Vec<Range> {
    if ranges.len() <= most {
        return ranges;
    }
    let each = ranges.len().div_ceil(most);
    ranges.chunks(each).map(|part| (part[0].0, part[part.len() - 1].1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_sets() {
        let a = normal(vec![(10, 20), (0, 5), (5, 7), (30, 40), (35, 36), (9, 9)]);
        assert_eq!(a, [(0, 7), (10, 20), (30, 40)]);
        let b = [(6, 12), (38, 50)];
        assert_eq!(union(&a, &b), [(0, 20), (30, 50)]);
        assert_eq!(both(&a, &b), [(6, 7), (10, 12), (38, 40)]);
        assert_eq!(minus(&a, &b), [(0, 6), (12, 20), (30, 38)]);
        assert_eq!(minus(&[(i64::MIN, i64::MAX)], &a), [(i64::MIN, 0), (7, 10), (20, 30), (40, i64::MAX)]);
        assert_eq!(minus(&a, &[(i64::MIN, i64::MAX)]), []);
        for at in -5..60 {
            let (in_a, in_b) = (holds(&a, at), holds(&b, at));
            assert_eq!(holds(&union(&a, &b), at), in_a || in_b, "{at}");
            assert_eq!(holds(&both(&a, &b), at), in_a && in_b, "{at}");
            assert_eq!(holds(&minus(&a, &b), at), in_a && !in_b, "{at}");
        }
        assert_eq!(coarser(a.clone(), 2), [(0, 20), (30, 40)]);
        assert_eq!(coarser(a.clone(), 3), a);
    }
}
