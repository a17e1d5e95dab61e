//! The difference of two texts, line by line.

use serde::{Deserialize, Serialize};

/// Texts with more lines than this are told as replaced.
const LINES_MAX: usize = 2_000;

/// A line that one of two texts has and the other has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedLine {
    /// `-` for a line that went away, `+` for one that came.
    pub sign: char,
    /// Its number in its text, from 1.
    pub line: usize,
    /// The line.
    pub text: String,
}

/// The lines that went away and those that came, in order; as few of them as possible (longest common subsequence).
pub fn line_diff(before: &str, after: &str) -> Vec<ChangedLine> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let most = old.len().min(new.len()) - head;
    let tail = old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let (a, b) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let gone = |at: usize| ChangedLine { sign: '-', line: head + at + 1, text: a[at].to_string() };
    let came = |at: usize| ChangedLine { sign: '+', line: head + at + 1, text: b[at].to_string() };
    if a.len() > LINES_MAX || b.len() > LINES_MAX {
        return (0..a.len()).map(gone).chain((0..b.len()).map(came)).collect();
    }
    // `common[i][j]`: how many lines `a[i..]` and `b[j..]` have in common.
    let mut common = vec![vec![0u32; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] = match a[i] == b[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && common[i + 1][j] >= common[i][j + 1]) {
            out.push(gone(i));
            i += 1;
        } else {
            out.push(came(j));
            j += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(before: &str, after: &str) -> String {
        line_diff(before, after).iter().map(|line| format!("{}{}{} ", line.sign, line.line, line.text)).collect()
    }

    #[test]
    fn only_what_differs_is_told() {
        assert_eq!(text("a\nb\nc", "a\nb\nc"), "");
        assert_eq!(text("a\nb\nc", "a\nx\nc"), "-2b +2x ");
        assert_eq!(text("a\nb", "a\nb\nc"), "+3c ");
        assert_eq!(text("a\na\nb", "a\nb"), "-2a ");
        assert_eq!(text("", "a"), "+1a ");
        assert_eq!(text("a\nb\nc\nd", "b\nx\nd\na"), "-1a -3c +2x +4a ");
    }
}
