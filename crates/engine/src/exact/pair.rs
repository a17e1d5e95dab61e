//! The sums of pairs of values: covariance, correlation, and the straight line through them.

use super::accumulate::{Columns, Values};
use super::sum::{Sum, apart, covariance};
use super::total::{Products, Total};

use arrow::array::Array;

/// What is made of the sums. The `regr_` functions of SQL take y before x.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Pair {
    Covariance { is_sample: bool },
    Correlation,
    Slope,
    Intercept,
    Determination,
    MeanX,
    MeanY,
    ApartX,
    ApartY,
    ApartXy,
}

impl Pair {
    pub(super) fn of(name: &str) -> Option<Pair> {
        Some(match name {
            "covar_samp" => Pair::Covariance { is_sample: true },
            "covar_pop" => Pair::Covariance { is_sample: false },
            "corr" => Pair::Correlation,
            "regr_slope" => Pair::Slope,
            "regr_intercept" => Pair::Intercept,
            "regr_r2" => Pair::Determination,
            "regr_avgx" => Pair::MeanX,
            "regr_avgy" => Pair::MeanY,
            "regr_sxx" => Pair::ApartX,
            "regr_syy" => Pair::ApartY,
            "regr_sxy" => Pair::ApartXy,
            _ => return None,
        })
    }
}

/// The pairs of one group of which neither value is missing.
#[derive(Debug, Clone, Default)]
pub(super) struct Pairs {
    count: u64,
    y: Total<0>,
    x: Total<0>,
    yy: Products,
    xx: Products,
    xy: Products,
}

impl Pairs {
    /// The sum of the products of what the values differ from their means.
    fn apart(&self, of: Of) -> f64 {
        let [a, b, products] = self.sums_of(of);
        apart(self.count, [&a, &b, &products], [self.count, 1])
    }

    fn sums_of(&self, of: Of) -> [Sum; 3] {
        match of {
            Of::X => [self.x.whole(), self.x.whole(), self.xx.whole()],
            Of::Y => [self.y.whole(), self.y.whole(), self.yy.whole()],
            Of::Both => [self.x.whole(), self.y.whole(), self.xy.whole()],
        }
    }

    fn mean_x(&self) -> f64 {
        self.x.value() / self.count as f64
    }

    fn mean_y(&self) -> f64 {
        self.y.value() / self.count as f64
    }

    /// `None` where no line is the nearest one: less than two pairs, or all at one x.
    fn slope(&self) -> Option<f64> {
        let x = self.apart(Of::X);
        (self.count > 1 && x != 0.0).then(|| self.apart(Of::Both) / x)
    }
}

#[derive(Clone, Copy)]
enum Of {
    X,
    Y,
    Both,
}

impl Values for Pairs {
    type Kind = Pair;
    type Row = [f64; 2];

    #[inline]
    fn row(columns: &Columns<'_>, at: usize) -> Option<[f64; 2]> {
        let is_whole = columns.iter().all(|column| column.is_valid(at));
        is_whole.then(|| [columns[0].value(at), columns[1].value(at)])
    }

    fn add(&mut self, _: Pair, [y, x]: [f64; 2]) {
        self.count += 1;
        self.y.add(y);
        self.x.add(x);
        self.yy.add_product(y, y);
        self.xx.add_product(x, x);
        self.xy.add_product(x, y);
    }

    fn take(&mut self, _: Pair, [y, x]: [f64; 2]) {
        self.count -= 1;
        self.y.take(y);
        self.x.take(x);
        self.yy.take_product(y, y);
        self.xx.take_product(x, x);
        self.xy.take_product(x, y);
    }

    fn result(&self, kind: Pair) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        match kind {
            Pair::Covariance { is_sample } => {
                let [a, b, products] = self.sums_of(Of::Both);
                covariance(self.count, [&a, &b, &products], is_sample)
            }
            Pair::Correlation => {
                let (x, y) = (self.apart(Of::X), self.apart(Of::Y));
                let is_told = self.count > 1 && x != 0.0 && y != 0.0;
                // The roots are rounded, so that a straight line may come out a digit above 1.
                is_told.then(|| (self.apart(Of::Both) / x.sqrt() / y.sqrt()).clamp(-1.0, 1.0))
            }
            Pair::Slope => self.slope(),
            Pair::Intercept => self.slope().map(|slope| self.mean_y() - slope * self.mean_x()),
            Pair::Determination => {
                let (x, y, both) = (self.apart(Of::X), self.apart(Of::Y), self.apart(Of::Both));
                (self.count > 1 && x != 0.0 && y != 0.0).then(|| ((both / x) * (both / y)).min(1.0))
            }
            Pair::MeanX => Some(self.mean_x()),
            Pair::MeanY => Some(self.mean_y()),
            Pair::ApartX => Some(self.apart(Of::X)),
            Pair::ApartY => Some(self.apart(Of::Y)),
            Pair::ApartXy => Some(self.apart(Of::Both)),
        }
    }

    fn count(&mut self) -> &mut u64 {
        &mut self.count
    }

    fn sums(_: Pair) -> usize {
        5
    }

    fn to_bytes(&self, at: usize, out: &mut Vec<u8>) {
        match at {
            0 => self.y.to_bytes(out),
            1 => self.x.to_bytes(out),
            2 => self.yy.to_bytes(out),
            3 => self.xx.to_bytes(out),
            _ => self.xy.to_bytes(out),
        }
    }

    fn merge(&mut self, at: usize, bytes: &[u8]) -> bool {
        match at {
            0 => self.y.merge(bytes),
            1 => self.x.merge(bytes),
            2 => self.yy.merge(bytes),
            3 => self.xx.merge(bytes),
            _ => self.xy.merge(bytes),
        }
    }

    fn heap(&self) -> usize {
        self.y.heap() + self.x.heap() + self.yy.heap() + self.xx.heap() + self.xy.heap()
    }
}

#[cfg(test)]
mod tests {
    use super::super::total::tests::values;
    use super::*;

    fn pairs(values: &[f64], parts: usize) -> Pairs {
        let (ys, xs) = values.split_at(values.len() / 2);
        let mut whole = Pairs::default();
        for part in (0..parts).rev() {
            let mut of_part = Pairs::default();
            for at in (part..ys.len()).step_by(parts) {
                of_part.add(Pair::Slope, [ys[at], xs[at]]);
            }
            *whole.count() += of_part.count;
            for sum in 0..Pairs::sums(Pair::Slope) {
                let mut bytes = Vec::new();
                of_part.to_bytes(sum, &mut bytes);
                assert!(Values::merge(&mut whole, sum, &bytes));
            }
        }
        whole
    }

    #[test]
    fn covariance_and_line_are_those_of_exact_arithmetic_however_the_rows_are_grouped() {
        // Fractions of Python 3.11. The roundings are those of a few operations: dividends, divisors, quotients.
        for (seed, exponents, wanted) in [
            (
                1,
                1020..1030,
                [
                    (Pair::Covariance { is_sample: true }, 0xc046_9381_1b6a_ae51),
                    (Pair::Slope, 0xbfa1_7c96_1765_b5ac),
                    (Pair::Intercept, 0xbff7_acbf_5a5e_55df),
                    (Pair::Determination, 0x3f53_0cb1_5dd3_796a),
                    (Pair::ApartXy, 0xc0e6_0667_347f_5390),
                ],
            ),
            (
                2,
                900..1100,
                [
                    (Pair::Covariance { is_sample: true }, 0x487b_2e4c_e16f_4994),
                    (Pair::Slope, 0x3f54_00e1_33a2_5949),
                    (Pair::Intercept, 0x442f_2814_64f6_2d7d),
                    (Pair::Determination, 0x3ec6_84e9_8fa2_1093),
                    (Pair::ApartXy, 0x491a_846b_80ee_5208),
                ],
            ),
        ] {
            let values = values(seed, 2000, exponents);
            let whole = pairs(&values, 1);
            for (kind, bits) in wanted {
                let found = whole.result(kind).unwrap();
                assert!(found.to_bits().abs_diff(bits) <= 8, "{kind:?} of {seed}: {found:e}");
                for parts in [2, 7, 100] {
                    let again = pairs(&values, parts).result(kind).unwrap();
                    assert_eq!(again.to_bits(), found.to_bits(), "{kind:?} of {seed} in {parts} parts");
                }
            }
        }
        let correlation = pairs(&values(1, 2000, 1020..1030), 3).result(Pair::Correlation).unwrap();
        assert!((correlation + 0.034_098_301_675_188_83).abs() < 1e-15, "{correlation}");
    }

    #[test]
    fn a_line_is_found_and_what_has_none_is_null() {
        let of = |kind, rows: &[[f64; 2]]| {
            let mut pairs = Pairs::default();
            rows.iter().for_each(|row| pairs.add(kind, *row));
            pairs.add(kind, [1e300, -7.0]);
            pairs.take(kind, [1e300, -7.0]);
            pairs.result(kind)
        };
        let line: Vec<[f64; 2]> = (0..100).map(|x| [3.0 - 2.0 * f64::from(x), 1e9 + f64::from(x)]).collect();
        assert_eq!(of(Pair::Slope, &line), Some(-2.0));
        assert_eq!(of(Pair::Correlation, &line), Some(-1.0));
        assert_eq!(of(Pair::Determination, &line), Some(1.0));
        assert_eq!(of(Pair::Covariance { is_sample: false }, &line), Some(-1666.5));
        assert_eq!(of(Pair::MeanX, &line), Some(1e9 + 49.5));
        let point = [[1.0, 2.0]];
        for kind in [Pair::Slope, Pair::Intercept, Pair::Correlation, Pair::Determination] {
            assert_eq!(of(kind, &point), None, "{kind:?}");
            assert_eq!(of(kind, &[[1.0, 2.0], [5.0, 2.0]]), None, "{kind:?}");
        }
        assert_eq!(of(Pair::Covariance { is_sample: true }, &point), None);
        assert_eq!(of(Pair::Covariance { is_sample: false }, &point), Some(0.0));
        assert_eq!(of(Pair::ApartY, &[]), None);
        assert!(of(Pair::Slope, &[[1.0, f64::NAN], [1.0, 2.0]]).unwrap().is_nan());
    }
}
