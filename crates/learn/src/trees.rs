//! Boosted trees as they are kept and as they score: our own layout, so that a stored model depends on no library's.
//!
//! A node takes 16 bytes and its children stand side by side, so that a step down reads one node. Sets of categories are bits.
//! Scores are single-precision sums in the order of the trees, the same for a row alone and in a batch.

use crate::error::LearnError;

/// In [`Node::column`]: the node is a leaf.
const LEAF: u32 = u32::MAX;
/// In [`Node::column`]: rows without a value go left.
const MISSING_LEFT: u32 = 1 << 31;
/// In [`Node::column`]: the node asks whether a category is in a set.
const IN_SET: u32 = 1 << 30;
/// Rows that go down a tree one after the other before the next tree: their cells and sums stay in the nearest cache.
const BLOCK_ROWS: usize = 64;
/// Walks that go side by side; 8 are no faster.
const LANES: usize = 4;

/// A split or a leaf.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Node {
    /// The column that is asked with two flags, or [`LEAF`].
    column: u32,
    /// The threshold below which a row goes left, or the leaf's value.
    value: f32,
    /// The left child; the right one is the next.
    left: u32,
    /// Where the set of categories that go left stands in [`Trees::sets`].
    set: u32,
}

/// One split or leaf of a tree that is added; children by their position in the tree.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Grown {
    /// A leaf's value.
    Leaf(f32),
    /// A question about a column.
    Split { column: u32, ask: Ask, missing_left: bool, left: usize, right: usize },
}

/// Which rows go left.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ask {
    Below(f32),
    In(Vec<u32>),
}

/// Trees that add up to one margin for each output.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Trees {
    columns: usize,
    /// The margins before the first tree.
    base: Vec<f32>,
    /// The root of each tree; the `n`th adds to output `n % base.len()`.
    roots: Vec<u32>,
    nodes: Vec<Node>,
    /// The weight of the training rows in each node (the sum of second derivatives), for explanation.
    covers: Vec<f32>,
    /// Sets of categories: a count of words, then that many words of 32 bits.
    sets: Vec<u32>,
}

impl Trees {
    /// No trees yet.
    pub(crate) fn new(columns: usize, base: Vec<f32>) -> Self {
        Trees { columns, base, ..Trees::default() }
    }

    /// Adds a tree, given as its nodes with their covers; the first is the root.
    pub(crate) fn push(&mut self, grown: &[(Grown, f32)]) {
        let root = self.nodes.len() as u32;
        self.roots.push(root);
        // Breadth first, so that a child always stands behind its parent.
        let mut queue = vec![0];
        let mut next = 0;
        while let Some(&at) = queue.get(next) {
            next += 1;
            let (node, cover) = &grown[at];
            self.covers.push(*cover);
            let node = match node {
                Grown::Leaf(value) => Node { column: LEAF, value: *value, left: 0, set: 0 },
                Grown::Split { column, ask, missing_left, left, right } => {
                    let children = root + queue.len() as u32;
                    queue.extend([*left, *right]);
                    let column = column | if *missing_left { MISSING_LEFT } else { 0 };
                    match ask {
                        Ask::Below(value) => Node { column, value: *value, left: children, set: 0 },
                        Ask::In(set) => {
                            Node { column: column | IN_SET, value: 0.0, left: children, set: self.add_set(set) }
                        }
                    }
                }
            };
            self.nodes.push(node);
        }
    }

    fn add_set(&mut self, set: &[u32]) -> u32 {
        let at = self.sets.len();
        let words = set.iter().max().map_or(0, |most| *most as usize / 32 + 1);
        self.sets.push(words as u32);
        self.sets.resize(at + 1 + words, 0);
        set.iter().for_each(|&category| self.sets[at + 1 + category as usize / 32] |= 1 << (category % 32));
        at as u32
    }

    /// How many margins a row has.
    pub(crate) fn outputs(&self) -> usize {
        self.base.len()
    }

    /// How many columns a row has.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// The margins of encoded rows, row by row.
    pub(crate) fn margins(&self, cells: &[f32], margins: &mut [f32]) {
        let (columns, outputs) = (self.columns, self.outputs());
        margins.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(&self.base));
        if cells.len() < LANES * columns {
            cells
                .chunks_exact(columns)
                .zip(margins.chunks_exact_mut(outputs))
                .for_each(|(row, sums)| self.add(row, sums));
            return;
        }
        for (cells, margins) in cells.chunks(BLOCK_ROWS * columns).zip(margins.chunks_mut(BLOCK_ROWS * outputs)) {
            for (nth, &root) in self.roots.iter().enumerate() {
                let output = nth % outputs;
                let lanes = cells.chunks_exact(LANES * columns).zip(margins.chunks_exact_mut(LANES * outputs));
                for (cells, margins) in lanes {
                    let rows = std::array::from_fn(|lane| &cells[lane * columns..][..columns]);
                    let leaves = self.leaves([root; LANES], rows);
                    (0..LANES).for_each(|lane| margins[lane * outputs + output] += leaves[lane]);
                }
                let rest = cells.chunks_exact(LANES * columns).remainder().chunks_exact(columns);
                let sums = margins.chunks_exact_mut(LANES * outputs).into_remainder().chunks_exact_mut(outputs);
                rest.zip(sums).for_each(|(row, sums)| sums[output] += self.leaves([root], [row])[0]);
            }
        }
    }

    /// Adds the leaves of one row.
    fn add(&self, row: &[f32], sums: &mut [f32]) {
        let outputs = sums.len();
        let (lanes, rest) = self.roots.as_chunks::<LANES>();
        let mut nth = 0;
        let mut add = |leaves: &[f32]| {
            for leaf in leaves {
                sums[nth % outputs] += leaf;
                nth += 1;
            }
        };
        lanes.iter().for_each(|&roots| add(&self.leaves(roots, [row; LANES])));
        rest.iter().for_each(|&root| add(&self.leaves([root], [row])));
    }

    /// Where each row ends in the tree at its root. The walks go down side by side: one waits for its memory while others step.
    #[inline]
    fn leaves<const N: usize>(&self, roots: [u32; N], rows: [&[f32]; N]) -> [f32; N] {
        let mut nodes = roots.map(|root| self.nodes[root as usize]);
        loop {
            let mut is_done = true;
            for (node, row) in nodes.iter_mut().zip(rows) {
                if node.column != LEAF {
                    *node = self.nodes[self.next(*node, row)];
                    is_done = false;
                }
            }
            if is_done {
                return nodes.map(|node| node.value);
            }
        }
    }

    /// The child to which a row goes.
    #[inline]
    fn next(&self, node: Node, row: &[f32]) -> usize {
        let value = row[(node.column & !(MISSING_LEFT | IN_SET)) as usize];
        let missing_left = value.is_nan() & (node.column & MISSING_LEFT != 0);
        let is_left =
            if node.column & IN_SET != 0 { !value.is_nan() && self.is_in(node.set, value) } else { value < node.value };
        node.left as usize + usize::from(!(is_left | missing_left))
    }

    #[inline]
    fn is_in(&self, set: u32, category: f32) -> bool {
        let (at, category) = (set as usize, category as u32);
        let word = category / 32;
        word < self.sets[at] && self.sets[at + 1 + word as usize] >> (category % 32) & 1 != 0
    }

    /// All of it as 4-byte little-endian words: the counts of columns, outputs, trees, nodes and set words, then each in turn.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let counts = [self.columns, self.outputs(), self.roots.len(), self.nodes.len(), self.sets.len()];
        let mut words: Vec<u32> = counts.iter().map(|&count| count as u32).collect();
        words.extend(self.base.iter().map(|value| value.to_bits()));
        words.extend(&self.roots);
        words.extend(self.nodes.iter().flat_map(|node| [node.column, node.value.to_bits(), node.left, node.set]));
        words.extend(self.covers.iter().map(|value| value.to_bits()));
        words.extend(&self.sets);
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    /// Reads what [`Trees::to_bytes`] wrote; fails on what would not score.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, LearnError> {
        Self::read(bytes).filter(Self::is_sound).ok_or(LearnError::Damaged { reason: "its trees cannot be read" })
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<4>();
        let mut words = words.iter().map(|word| u32::from_le_bytes(*word));
        let mut take =
            |count: usize| -> Option<Vec<u32>> { (count <= words.len()).then(|| words.by_ref().take(count).collect()) };
        let counts = take(5)?;
        let [columns, outputs, trees, nodes, sets] = counts.try_into().ok()?;
        let floats = |words: Vec<u32>| words.into_iter().map(f32::from_bits).collect::<Vec<_>>();
        let base = floats(take(outputs as usize)?);
        let roots = take(trees as usize)?;
        let nodes = take((nodes as usize).checked_mul(4)?)?;
        let node = |&[column, value, left, set]: &[u32; 4]| Node { column, value: f32::from_bits(value), left, set };
        let nodes: Vec<Node> = nodes.as_chunks::<4>().0.iter().map(node).collect();
        let covers = floats(take(nodes.len())?);
        let sets = take(sets as usize)?;
        (rest.is_empty() && words.len() == 0).then_some(Trees {
            columns: columns as usize,
            base,
            roots,
            nodes,
            covers,
            sets,
        })
    }

    /// Whether every walk ends in a leaf and stays inside.
    fn is_sound(&self) -> bool {
        let nodes = self.nodes.len();
        let node_is_sound = |(at, node): (usize, &Node)| {
            if node.column == LEAF {
                return true;
            }
            let column = (node.column & !(MISSING_LEFT | IN_SET)) as usize;
            let left = node.left as usize;
            let set = node.set as usize;
            let set_is_sound = || self.sets.get(set).is_some_and(|words| (*words as usize) < self.sets.len() - set);
            column < self.columns && left > at && left + 1 < nodes && (node.column & IN_SET == 0 || set_is_sound())
        };
        !self.base.is_empty()
            && self.columns > 0
            && self.roots.len().is_multiple_of(self.base.len())
            && self.roots.iter().all(|&root| (root as usize) < nodes)
            && self.nodes.iter().enumerate().all(node_is_sound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(column: u32, ask: Ask, missing_left: bool, left: usize, right: usize) -> (Grown, f32) {
        (Grown::Split { column, ask, missing_left, left, right }, 1.0)
    }

    fn sample() -> Trees {
        let mut trees = Trees::new(2, vec![0.5]);
        let leaf = |value| (Grown::Leaf(value), 1.0);
        trees.push(&[
            split(0, Ask::Below(2.0), true, 2, 1),
            split(1, Ask::In(vec![0, 40]), false, 3, 4),
            leaf(1.0),
            leaf(10.0),
            leaf(100.0),
        ]);
        trees.push(&[leaf(0.25)]);
        trees
    }

    #[test]
    fn rows_go_where_the_splits_send_them() {
        let trees = sample();
        for (row, margin) in [
            ([1.0, 0.0], 1.75),
            ([2.0, 0.0], 10.75),
            ([2.0, 40.0], 10.75),
            ([2.0, 8.0], 100.75),
            ([2.0, 1000.0], 100.75),
            ([f32::NAN, 0.0], 1.75),
            ([3.0, f32::NAN], 100.75),
        ] {
            let mut margins = [0.0];
            trees.margins(&row, &mut margins);
            assert_eq!(margins[0], margin, "{row:?}");
        }
        assert_eq!(Trees::from_bytes(&trees.to_bytes()).unwrap(), trees);
    }

    #[test]
    fn bytes_that_would_not_score_are_refused() {
        let bytes = sample().to_bytes();
        // Whatever a byte becomes: an error, or trees whose walks end.
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                if let Ok(trees) = Trees::from_bytes(&damaged) {
                    let cells = vec![40.0; trees.columns().min(100)];
                    if cells.len() == trees.columns() {
                        trees.margins(&cells, &mut vec![0.0; trees.outputs()]);
                    }
                }
            }
        }
        (0..bytes.len()).for_each(|length| assert!(Trees::from_bytes(&bytes[..length]).is_err()));
    }
}
