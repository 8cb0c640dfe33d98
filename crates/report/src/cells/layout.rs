//! Layered layout after Sugiyama, Tagawa and Toda (1981): layers by longest path, few crossings by barycentres,
//! straight edges by least squares.

/// A graph to lay out: widths of its boxes, and edges that lead from smaller to larger indices.
pub(super) struct Problem<'a> {
    pub(super) widths: &'a [f64],
    pub(super) edges: &'a [(usize, usize)],
    /// Room between boxes of a layer.
    pub(super) gap: f64,
    /// Boxes that stay in the first layer.
    pub(super) sources: &'a [bool],
}

/// Where everything stands: layers from the top, x of the middle of each box, and the way of each edge.
pub(super) struct Layout {
    pub(super) layer: Vec<usize>,
    pub(super) x: Vec<f64>,
    /// For each edge, the layers and x that it passes on its way, without its two ends.
    pub(super) bends: Vec<Vec<(usize, f64)>>,
    pub(super) width: f64,
}

/// Room that an edge takes where it passes a layer.
const PASSAGE: f64 = 10.0;

/// Boxes and, where edges pass a layer, points; all with neighbours one layer above or below only.
struct Net {
    layer: Vec<usize>,
    width: Vec<f64>,
    links: Vec<(usize, usize)>,
    boxes: usize,
}

pub(super) fn layout(problem: &Problem<'_>) -> Layout {
    let layer = layers(problem);
    let (net, chains) = expand(problem, &layer);
    let rows = order(&net);
    let x = positions(&net, &rows, problem.gap);
    let left = (0..x.len())
        .map(|index| x[index] - net.width[index] / 2.0)
        .fold(f64::INFINITY, f64::min);
    let right = (0..x.len())
        .map(|index| x[index] + net.width[index] / 2.0)
        .fold(f64::NEG_INFINITY, f64::max);
    let bends = chains
        .iter()
        .map(|chain| {
            chain
                .iter()
                .map(|&point| (net.layer[point], x[point] - left))
                .collect()
        })
        .collect();
    Layout {
        layer,
        x: x[..net.boxes].iter().map(|x| x - left).collect(),
        bends,
        width: (right - left).max(0.0),
    }
}

/// The longest way from a source; then each box moves down to the first that takes from it.
fn layers(problem: &Problem<'_>) -> Vec<usize> {
    let count = problem.widths.len();
    let mut layer = vec![0; count];
    for index in 0..count {
        for edge in problem.edges.iter().filter(|edge| edge.1 == index) {
            layer[index] = layer[index].max(layer[edge.0] + 1);
        }
    }
    for index in (0..count).rev().filter(|&index| !problem.sources[index]) {
        let next = problem
            .edges
            .iter()
            .filter(|edge| edge.0 == index)
            .map(|edge| layer[edge.1])
            .min();
        layer[index] = next.map_or(layer[index], |next| next - 1);
    }
    layer
}

/// Cuts edges over several layers into links from layer to layer.
fn expand(problem: &Problem<'_>, layer: &[usize]) -> (Net, Vec<Vec<usize>>) {
    let mut net = Net {
        layer: layer.to_vec(),
        width: problem.widths.to_vec(),
        links: Vec::new(),
        boxes: problem.widths.len(),
    };
    let mut chains = Vec::new();
    for &(from, to) in problem.edges {
        let mut chain = Vec::new();
        let mut last = from;
        for level in layer[from] + 1..layer[to] {
            let point = net.layer.len();
            net.layer.push(level);
            net.width.push(PASSAGE);
            net.links.push((last, point));
            chain.push(point);
            last = point;
        }
        net.links.push((last, to));
        chains.push(chain);
    }
    (net, chains)
}

/// The order within each layer: barycentre sweeps down and up; the order with the fewest crossings is kept.
fn order(net: &Net) -> Vec<Vec<usize>> {
    let depth = net.layer.iter().max().map_or(0, |last| last + 1);
    let mut rows: Vec<Vec<usize>> = (0..depth)
        .map(|level| {
            (0..net.layer.len())
                .filter(|&i| net.layer[i] == level)
                .collect()
        })
        .collect();
    let mut best = (crossings(net, &rows), rows.clone());
    for sweep in 0..24 {
        let down = sweep % 2 == 0;
        let levels: Vec<usize> = if down {
            (1..depth).collect()
        } else {
            (0..depth.saturating_sub(1)).rev().collect()
        };
        for level in levels {
            let reference = place_of(
                &rows[if down { level - 1 } else { level + 1 }],
                net.layer.len(),
            );
            let own = place_of(&rows[level], net.layer.len());
            let weight =
                |&node: &usize| barycentre(net, node, down, &reference).unwrap_or(own[node]);
            rows[level].sort_by(|a, b| weight(a).total_cmp(&weight(b)));
        }
        let count = crossings(net, &rows);
        if count < best.0 {
            best = (count, rows.clone());
        }
    }
    best.1
}

/// For each node its place in a row, as a fraction of the row.
fn place_of(row: &[usize], count: usize) -> Vec<f64> {
    let mut place = vec![0.0; count];
    for (index, &node) in row.iter().enumerate() {
        place[node] = (index as f64 + 0.5) / row.len() as f64;
    }
    place
}

/// The mean over the neighbours above (`down`) or below.
fn barycentre(net: &Net, node: usize, down: bool, value: &[f64]) -> Option<f64> {
    let neighbours = net.links.iter().filter_map(|&(from, to)| match down {
        true if to == node => Some(value[from]),
        false if from == node => Some(value[to]),
        _ => None,
    });
    crate::numbers::mean(neighbours)
}

fn crossings(net: &Net, rows: &[Vec<usize>]) -> usize {
    let mut place = vec![0; net.layer.len()];
    for row in rows {
        for (index, &node) in row.iter().enumerate() {
            place[node] = index;
        }
    }
    let mut count = 0;
    for (index, a) in net.links.iter().enumerate() {
        for b in &net.links[..index] {
            let crossed = place[a.0].cmp(&place[b.0]) as i8 * place[a.1].cmp(&place[b.1]) as i8;
            count += usize::from(net.layer[a.0] == net.layer[b.0] && crossed < 0);
        }
    }
    count
}

/// x of every node: in turns, each layer takes the places nearest to its neighbours' that keep order and distance.
fn positions(net: &Net, rows: &[Vec<usize>], gap: f64) -> Vec<f64> {
    let mut x = vec![0.0; net.layer.len()];
    for row in rows {
        let wanted = vec![0.0; row.len()];
        settle(net, row, &wanted, gap, &mut x);
    }
    for sweep in 0..60 {
        let down = sweep % 2 == 0;
        for step in 0..rows.len() {
            let level = if down { step } else { rows.len() - 1 - step };
            let wanted: Vec<f64> = rows[level]
                .iter()
                .map(|&node| {
                    let (above, below) = (
                        barycentre(net, node, true, &x),
                        barycentre(net, node, false, &x),
                    );
                    match (above, below) {
                        (Some(above), Some(below)) => (above + below) / 2.0,
                        (Some(one), None) | (None, Some(one)) => one,
                        (None, None) => x[node],
                    }
                })
                .collect();
            settle(net, &rows[level], &wanted, gap, &mut x);
        }
    }
    x
}

/// Least squares to the wanted places under the order's distances, by pooling neighbours that would come too close.
fn settle(net: &Net, row: &[usize], wanted: &[f64], gap: f64, x: &mut [f64]) {
    let mut offsets = vec![0.0; row.len()];
    for index in 1..row.len() {
        let (a, b) = (row[index - 1], row[index]);
        let passages = a >= net.boxes && b >= net.boxes;
        offsets[index] = offsets[index - 1]
            + (net.width[a] + net.width[b]) / 2.0
            + if passages { gap * 0.3 } else { gap };
    }
    // Pools of (weighted sum, weight, count); points weigh more, so that long edges run straight.
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for (index, &node) in row.iter().enumerate() {
        let weight = if node >= net.boxes { 4.0 } else { 1.0 };
        pools.push((weight * (wanted[index] - offsets[index]), weight, 1));
        while let [.., before, last] = pools[..]
            && before.0 / before.1 > last.0 / last.1
        {
            pools.truncate(pools.len() - 2);
            pools.push((before.0 + last.0, before.1 + last.1, before.2 + last.2));
        }
    }
    let mut index = 0;
    for (sum, weight, count) in pools {
        for _ in 0..count {
            x[row[index]] = sum / weight + offsets[index];
            index += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn solve(count: usize, edges: &[(usize, usize)]) -> Layout {
        let mut sources = vec![true; count];
        for edge in edges {
            sources[edge.1] = false;
        }
        layout(&Problem {
            widths: &vec![60.0; count],
            edges,
            gap: 20.0,
            sources: &sources,
        })
    }

    #[test]
    fn boxes_never_overlap_and_edges_lead_down() {
        let edges = [
            (0, 2),
            (0, 3),
            (1, 3),
            (1, 4),
            (2, 5),
            (3, 5),
            (3, 6),
            (4, 6),
            (0, 6),
            (5, 7),
            (6, 7),
            (1, 7),
        ];
        let found = solve(8, &edges);
        for a in 0..8 {
            for b in 0..a {
                let apart = (found.x[a] - found.x[b]).abs() >= 80.0 - 1e-6;
                assert!(
                    found.layer[a] != found.layer[b] || apart,
                    "{a} and {b}: {:?}",
                    found.x
                );
            }
        }
        for (edge, bends) in edges.iter().zip(&found.bends) {
            assert!(found.layer[edge.0] < found.layer[edge.1]);
            assert_eq!(bends.len(), found.layer[edge.1] - found.layer[edge.0] - 1);
        }
        assert!(
            found
                .x
                .iter()
                .all(|x| *x >= 30.0 - 1e-6 && *x <= found.width - 30.0 + 1e-6)
        );
    }

    #[test]
    fn a_chain_is_straight_and_a_fork_symmetric() {
        let chain = solve(3, &[(0, 1), (1, 2)]);
        assert!((chain.x[0] - chain.x[2]).abs() < 1e-6 && chain.layer == [0, 1, 2]);
        let fork = solve(4, &[(0, 1), (0, 2), (1, 3), (2, 3)]);
        assert!(
            (fork.x[0] - (fork.x[1] + fork.x[2]) / 2.0).abs() < 0.5,
            "{:?}",
            fork.x
        );
        assert!((fork.x[0] - fork.x[3]).abs() < 0.5);
    }

    #[test]
    fn avoidable_crossings_are_avoided() {
        let found = solve(4, &[(0, 3), (1, 2)]);
        assert!(
            (found.x[0] < found.x[1]) == (found.x[3] < found.x[2]),
            "{:?}",
            found.x
        );
    }
}
