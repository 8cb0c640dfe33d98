//! An architecture drawn with each chosen operation as one vertex, as papers draw cells.

use std::collections::BTreeMap;

use cellwright_space::{Call, Sink};

use super::refine;
use super::simplify::{Inputs, Reduced, Vertex};
use super::text::{self, Text};
use crate::{Layer, MAX_LAYERS, Shape, vocabulary};

/// One vertex.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) what: What,
    /// Earlier vertices.
    pub(super) inputs: Vec<usize>,
    shape: Shape,
}

/// What a vertex is.
#[derive(Debug)]
pub(super) enum What {
    Image,
    Layer(Layer),
    /// A chosen operation, by its name.
    Option(String),
    /// A cell, written out over its inputs.
    Cell(Text),
}

/// Receives an architecture; vertex 0 is the image.
pub(super) struct Outline {
    items: Vec<Item>,
    /// The auxiliary classifiers and their weights.
    auxiliary: Vec<(usize, f64)>,
    /// Whether cells are written out.
    with_cells: bool,
}

impl Outline {
    /// Starts with the image alone.
    pub(super) fn new(image: Shape, with_cells: bool) -> Self {
        let image = Item {
            what: What::Image,
            inputs: Vec::new(),
            shape: image,
        };
        Self {
            items: vec![image],
            auxiliary: Vec::new(),
            with_cells,
        }
    }

    fn add(&mut self, what: What, inputs: &[usize], shape: Shape) -> Result<usize, String> {
        if self.items.len() >= MAX_LAYERS {
            return Err(format!("the network has more than {MAX_LAYERS} layers"));
        }
        self.items.push(Item {
            what,
            inputs: inputs.to_vec(),
            shape,
        });
        Ok(self.items.len() - 1)
    }

    /// The colour of the graph: equal for isomorphic ones. The order of inputs counts nowhere.
    pub(super) fn colour(&self, output: usize) -> u128 {
        let label = |item: &Item| match &item.what {
            What::Image => format!("image {}", item.shape),
            What::Layer(layer) => format!("{layer:?}"),
            What::Option(name) => name.clone(),
            What::Cell(text) => text.to_string(),
        };
        let mut new = vec![None; self.items.len()];
        let mut vertices = Vec::new();
        for id in self.used(output) {
            let item = &self.items[id];
            let mut counted = BTreeMap::new();
            for input in item.inputs.iter().filter_map(|input| new[*input]) {
                *counted.entry(input).or_default() += 1;
            }
            new[id] = Some(vertices.len());
            vertices.push(Vertex {
                label: label(item),
                inputs: Inputs::Multiset(counted),
            });
        }
        let auxiliary = self.auxiliary.iter();
        let roles = auxiliary.map(|(item, weight)| (*item, format!("auxiliary {weight}")));
        let outputs = roles.chain([(output, "output".to_owned())]);
        refine::digest(&Reduced {
            vertices,
            outputs: outputs
                .filter_map(|(item, role)| Some((new[item]?, role)))
                .collect(),
        })
    }

    /// What feeds an output, in order. What stands behind a chosen operation does not.
    fn used(&self, output: usize) -> Vec<usize> {
        let mut used = vec![false; self.items.len()];
        used[output] = true;
        self.auxiliary
            .iter()
            .for_each(|(item, _)| used[*item] = true);
        for id in (0..used.len()).rev() {
            if used[id] {
                self.items[id]
                    .inputs
                    .iter()
                    .for_each(|input| used[*input] = true);
            }
        }
        (0..used.len()).filter(|id| used[*id]).collect()
    }

    /// The network as a text, and its auxiliary classifiers.
    pub(super) fn text(&self, output: usize) -> Result<String, String> {
        let mut all = text::write(&self.items, &[0], output)?.to_string();
        for (item, weight) in &self.auxiliary {
            let text = text::write(&self.items, &[0], *item)?;
            all.push_str(&format!(" auxiliary {weight}: {text}"));
        }
        Ok(all)
    }
}

impl Sink for Outline {
    type Node = usize;

    fn layer(&mut self, call: &Call<'_, usize>) -> Result<usize, String> {
        let shapes: Vec<Shape> = call.inputs.iter().map(|id| self.items[*id].shape).collect();
        let layer = vocabulary::layer(call.primitive, call.arguments, &shapes)?;
        let shape = layer.infer(&shapes).map_err(|it| it.to_string())?;
        match (&layer, call.inputs) {
            (Layer::Identity, [input]) => Ok(*input),
            _ => self.add(What::Layer(layer), call.inputs, shape),
        }
    }

    fn shape(&self, node: usize) -> Shape {
        self.items[node].shape
    }

    fn auxiliary(&mut self, node: usize, weight: f64) -> Result<(), String> {
        self.auxiliary.push((node, weight));
        Ok(())
    }

    /// A choice that passes its input on, or gives zeros, is no vertex of its own.
    fn chosen(&mut self, option: &str, inputs: &[usize], output: usize) -> Result<usize, String> {
        let item = &self.items[output];
        if inputs.contains(&output) || matches!(item.what, What::Layer(Layer::Zero(_))) {
            return Ok(output);
        }
        self.add(What::Option(option.to_owned()), inputs, item.shape)
    }

    fn cell(&mut self, inputs: &[usize], output: usize) -> Result<usize, String> {
        if !self.with_cells || inputs.contains(&output) {
            return Ok(output);
        }
        let text = text::write(&self.items, inputs, output)?;
        self.add(What::Cell(text), inputs, self.items[output].shape)
    }
}
