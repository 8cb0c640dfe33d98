//! Which groups of nodes are cells.
//!
//! A node's name is its path through the space file, from the outside in (`stage.1/normal.2/block.0/sep/conv`). A
//! cell is an outermost named group that itself adds or concatenates tensors: the normal and the reduction cell of
//! NASNet, an Inception module, a residual block, but not a stage of cells, nor an operation inside one.

use std::collections::{BTreeSet, HashMap};

use cellwright_graph::{Graph, Layer};

use super::sketch::Sketch;

/// A distinct cell of a graph.
pub(crate) struct Cell {
    /// Its name in the space file.
    pub(crate) name: String,
    /// How often the graph uses it.
    pub(crate) uses: usize,
    /// Equal for cells that differ only in widths and in projections of their inputs.
    pub(crate) signature: String,
    pub(crate) sketch: Sketch,
}

/// The distinct cells of a graph, in the order of their first use.
pub(crate) fn cells(graph: &Graph) -> Vec<Cell> {
    let paths = paths(graph);
    let mut found: Vec<(Cell, Vec<String>)> = Vec::new();
    for group in groups(graph, &paths) {
        let sketch = Sketch::of(graph, &paths, &group);
        let plain: Vec<String> = group
            .iter()
            .map(|segment| without_index(segment).to_owned())
            .collect();
        let signature = sketch.signature(false);
        // In one graph, a cell of one name has the same decisions wherever it stands.
        let same = |(cell, path): &&mut (Cell, Vec<String>)| {
            cell.signature == signature && path.last() == plain.last()
        };
        match found.iter_mut().find(same) {
            Some((cell, _)) => {
                cell.uses += 1;
                // The instance with all inputs and the fewest projections shows the cell best.
                let rank =
                    |sketch: &Sketch| (std::cmp::Reverse(sketch.inputs()), sketch.boxes.len());
                if rank(&sketch) < rank(&cell.sketch) {
                    cell.sketch = sketch;
                }
            }
            None => found.push((
                Cell {
                    name: String::new(),
                    uses: 1,
                    signature,
                    sketch,
                },
                plain,
            )),
        }
    }
    let names = names(&found);
    found
        .into_iter()
        .zip(names)
        .map(|((cell, _), name)| Cell {
            name,
            signature: cell.sketch.signature(true),
            ..cell
        })
        .collect()
}

/// The path of each node.
fn paths(graph: &Graph) -> Vec<Vec<&str>> {
    let paths = graph.nodes.iter().map(|node| node.name.split('/'));
    paths.map(Iterator::collect).collect()
}

/// How many layers stand in no cell, of how many; the input is none.
pub(crate) fn outside(graph: &Graph) -> (usize, usize) {
    let paths = paths(graph);
    let groups = groups(graph, &paths);
    let layers = || {
        let nodes = graph.nodes.iter().zip(&paths);
        nodes.filter(|(node, _)| !matches!(node.layer, Layer::Input))
    };
    let is_outside = |path: &Vec<&str>| !groups.iter().any(|group| path.starts_with(group));
    let outside = layers().filter(|(_, path)| is_outside(path));
    (outside.count(), layers().count())
}

/// The last part of each cell's path, and the part before it where cells of different paths share the last.
fn names(found: &[(Cell, Vec<String>)]) -> Vec<String> {
    let mut paths_of: HashMap<&str, BTreeSet<&[String]>> = HashMap::new();
    for (_, path) in found {
        paths_of
            .entry(path.last().map_or("", String::as_str))
            .or_default()
            .insert(path);
    }
    found
        .iter()
        .map(|(_, path)| {
            let last = path.last().map_or("", String::as_str);
            let shared = paths_of.get(last).is_some_and(|paths| paths.len() > 1);
            let from = path.len().saturating_sub(if shared { 2 } else { 1 });
            path[from..].join("/").replace('_', " ")
        })
        .collect()
}

/// The paths of all cells, in the order of their first node.
fn groups<'a>(graph: &Graph, paths: &[Vec<&'a str>]) -> Vec<Vec<&'a str>> {
    let mut merging: Vec<&[&str]> = Vec::new();
    for (node, path) in graph.nodes.iter().zip(paths) {
        let group = &path[..path.len() - 1];
        let merges =
            matches!(node.layer, Layer::Add | Layer::Mean | Layer::Concat) && node.inputs.len() > 1;
        if merges
            && !group.is_empty()
            && !merging.contains(&group)
            && !is_reduction(graph, paths, group)
        {
            merging.push(group);
        }
    }
    let outermost = |group: &&&[&str]| {
        !merging
            .iter()
            .any(|other| other.len() < group.len() && group.starts_with(other))
    };
    merging
        .iter()
        .filter(outermost)
        .map(|group| group.to_vec())
        .collect()
}

/// Whether a group is a factorised reduction, which concatenates but is an operation.
fn is_reduction(graph: &Graph, paths: &[Vec<&str>], group: &[&str]) -> bool {
    let layers = || {
        graph
            .nodes
            .iter()
            .zip(paths)
            .filter(|(_, path)| path.starts_with(group))
            .map(|(node, _)| &node.layer)
    };
    layers().any(|layer| matches!(layer, Layer::Subsample(_)))
        && !layers().any(|layer| matches!(layer, Layer::Add | Layer::Mean))
        && layers()
            .filter(|layer| matches!(layer, Layer::Concat))
            .count()
            == 1
}

/// `normal`, for the instances `normal.2` and `normal[2]` of a repetition and for `normal_2`, a second layer of the
/// same name.
fn without_index(segment: &str) -> &str {
    let mut name = segment;
    for (open, close) in [(".", ""), ("[", "]"), ("_", "")] {
        let base = name
            .strip_suffix(close)
            .and_then(|rest| rest.rsplit_once(open));
        if let Some((base, index)) = base
            && !base.is_empty()
            && !index.is_empty()
            && index.bytes().all(|byte| byte.is_ascii_digit())
        {
            name = base;
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_no_part_of_a_name() {
        assert_eq!(without_index("normal.12"), "normal");
        assert_eq!(without_index("normal[2]"), "normal");
        assert_eq!(without_index("conv3"), "conv3");
        assert_eq!(without_index("normal_2.0"), "normal");
        assert_eq!(without_index("sep_conv_3x3"), "sep_conv_3x3");
        assert_eq!(without_index("_2"), "_2");
        assert_eq!(without_index("7"), "7");
    }
}
