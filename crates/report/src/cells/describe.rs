//! What a box says: the operation that some layers make up together, as papers call it.

use cellwright_graph::{Graph, Layer, NodeId, Pool, PoolKind};

/// Layers that change no structure: they are part of the box before or after them.
fn is_light(layer: &Layer) -> bool {
    matches!(
        layer,
        Layer::BatchNorm(_)
            | Layer::Activation(_)
            | Layer::Dropout(_)
            | Layer::DropPath(_)
            | Layer::Identity
    )
}

/// Whether a node changes no structure: its layer does not, or it adds up or joins a single tensor.
pub(super) fn is_light_node(graph: &Graph, id: NodeId) -> bool {
    let node = &graph.nodes[id];
    is_light(&node.layer) || (is_merge(&node.layer) && node.inputs.len() == 1)
}

/// Whether a layer makes one tensor of several.
pub(super) fn is_merge(layer: &Layer) -> bool {
    matches!(
        layer,
        Layer::Add | Layer::Mean | Layer::Concat | Layer::Multiply
    )
}

/// The lines of a box for these nodes, in order.
pub(super) fn lines(graph: &Graph, nodes: &[NodeId]) -> Vec<String> {
    let mut lines = vec![folded(&parts(graph, nodes)).unwrap_or_else(|| light(graph, nodes))];
    let stride = stride(graph, nodes);
    if stride > 1 {
        lines.push(format!("stride {stride}"));
    }
    lines
}

/// The operations in order, each `(kind, kernel)`.
fn parts(graph: &Graph, nodes: &[NodeId]) -> Vec<(String, String)> {
    let layer = |id: &NodeId| &graph.nodes[*id].layer;
    let has = |wanted: fn(&Layer) -> bool| nodes.iter().any(|id| wanted(layer(id)));
    if has(|layer| matches!(layer, Layer::Subsample(_)))
        && has(|layer| matches!(layer, Layer::Concat))
    {
        return vec![("factorised reduction".into(), String::new())];
    }
    if has(|layer| matches!(layer, Layer::Multiply))
        && has(|layer| matches!(layer, Layer::GlobalAveragePool))
    {
        return vec![("squeeze and excite".into(), String::new())];
    }
    let mut parts: Vec<(String, String)> = Vec::new();
    for id in nodes.iter().filter(|id| !is_light_node(graph, **id)) {
        match layer(id) {
            Layer::Conv(conv) if conv.is_depthwise(graph.input_shape(*id)) => {
                let kind = if conv.dilation == [1, 1] {
                    "depthwise"
                } else {
                    "dilated depthwise"
                };
                parts.push((kind.into(), times(conv.kernel)));
            }
            Layer::Conv(conv) => match parts.last_mut() {
                Some(last) if conv.kernel == [1, 1] && last.0.ends_with("depthwise") => {
                    last.0 = last
                        .0
                        .replace("dilated depthwise", "dil conv")
                        .replace("depthwise", "sep conv");
                }
                _ => {
                    let kind = match (conv.groups > 1, conv.dilation == [1, 1]) {
                        (true, _) => "group conv",
                        (false, false) => "dilated conv",
                        (false, true) => "conv",
                    };
                    parts.push((kind.into(), times(conv.kernel)));
                }
            },
            Layer::Pool(pool) => parts.push((pool_name(pool).into(), times(pool.kernel))),
            Layer::GlobalAveragePool => parts.push(("global pool".into(), String::new())),
            other => parts.push((other.op().replace('_', " "), String::new())),
        }
    }
    parts
}

fn pool_name(pool: &Pool) -> &'static str {
    match pool.kind {
        PoolKind::Max => "max pool",
        PoolKind::Average => "avg pool",
    }
}

/// `sep conv 5×5` twice is `sep conv 5×5 ×2`; `conv 1×7` and `conv 7×1` are `conv 1×7, 7×1`.
fn folded(parts: &[(String, String)]) -> Option<String> {
    let mut words: Vec<String> = Vec::new();
    let mut index = 0;
    while index < parts.len() {
        let (kind, kernel) = &parts[index];
        let same = parts[index..]
            .iter()
            .take_while(|part| *part == &parts[index])
            .count();
        let mut word = format!("{kind} {kernel}").trim_end().to_owned();
        index += same;
        if same > 1 {
            word.push_str(&format!(" ×{same}"));
        }
        while let Some((_, next)) = parts.get(index).filter(|part| part.0 == *kind && same == 1) {
            word.push_str(&format!(", {next}"));
            index += 1;
        }
        words.push(word);
    }
    (!words.is_empty()).then(|| words.join(" + "))
}

/// A box of light layers alone is called by the first that has a name of its own.
fn light(graph: &Graph, nodes: &[NodeId]) -> String {
    let layers = || {
        let layers = nodes.iter().map(|id| &graph.nodes[*id].layer);
        layers.filter(|layer| !is_merge(layer))
    };
    let named = layers()
        .find(|layer| matches!(layer, Layer::Activation(_)))
        .or_else(|| layers().next());
    match named.map_or("identity", Layer::op) {
        "relu" => "ReLU".to_owned(),
        op => op.replace('_', " "),
    }
}

fn stride(graph: &Graph, nodes: &[NodeId]) -> usize {
    let mut subsampled = 1;
    let mut stride = 1;
    for id in nodes {
        match &graph.nodes[*id].layer {
            Layer::Conv(conv) => stride *= conv.stride[0],
            Layer::Pool(pool) => stride *= pool.stride[0],
            Layer::Zero(zero) => stride *= zero.stride,
            // Those of a factorised reduction stand side by side.
            Layer::Subsample(subsample) => subsampled = subsampled.max(subsample.stride),
            _ => {}
        }
    }
    stride * subsampled
}

fn times([height, width]: [usize; 2]) -> String {
    format!("{height}×{width}")
}
