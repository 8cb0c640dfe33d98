//! `cellwright inspect`: what an architecture is made of, and what it costs.

use anyhow::Result;
use cellwright_graph::Graph;
use cellwright_space::{Choices, Space};
use serde::Serialize;

use crate::options::{ImageFlags, SpaceFlags, Which};
use crate::output::{print, print_json, right, short, table, thousands};

/// Flags of `inspect`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    space: SpaceFlags,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    images: ImageFlags,
    /// Batch size for the memory of a training step
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// The graph of layers with all their settings, as JSON, for other programs
    #[arg(long, conflicts_with = "json")]
    graph: bool,
}

#[derive(Serialize)]
struct Report {
    name: String,
    choices: String,
    architecture: String,
    identity: String,
    /// With those of auxiliary classifiers.
    params: u64,
    /// Without those of auxiliary classifiers, which work in training only.
    macs: u64,
    flops: u64,
    auxiliary_classifiers: usize,
    /// None where they are too many for 64 bits.
    activation_bytes: Option<u64>,
    batch: u32,
    /// Channels, height, width.
    input: [usize; 3],
    classes: usize,
    receptive_field: [usize; 2],
    decisions: Vec<Decision>,
    layers: Vec<Layer>,
}

/// A decision of the space, and what this architecture has for it.
#[derive(Serialize)]
struct Decision {
    number: usize,
    name: String,
    option: u32,
    /// The option as the file writes it.
    label: String,
    /// Whether it decides anything here: what is chosen before it may leave its place out.
    active: bool,
}

#[derive(Serialize)]
struct Layer {
    name: String,
    op: &'static str,
    inputs: Vec<String>,
    /// Channels, height, width.
    output: [usize; 3],
    params: u64,
    macs: u64,
}

/// Shows one architecture.
pub fn run(args: Args) -> Result<()> {
    let space = args.space.source()?.space()?;
    let choices = args.which.choices(&space)?;
    let graph = args.images.graph(&space, &choices)?;
    if args.graph {
        return print_json(&graph);
    }
    let report = report(&space, &choices, &graph, args.batch);
    if args.json {
        print_json(&report)
    } else {
        show(&report)
    }
}

fn report(space: &Space, choices: &Choices, graph: &Graph, batch: u32) -> Report {
    Report {
        name: space.name().to_owned(),
        choices: choices.to_string(),
        architecture: space.notation(choices),
        identity: graph.identity(),
        params: graph.params(),
        macs: graph.macs(),
        flops: graph.flops(),
        auxiliary_classifiers: graph.auxiliary.len(),
        activation_bytes: graph.activation_bytes(batch as usize),
        batch,
        input: [graph.input.channels, graph.input.height, graph.input.width],
        classes: graph.classes,
        receptive_field: graph.receptive_field(),
        decisions: decisions(space, choices),
        layers: layers(graph),
    }
}

fn decisions(space: &Space, choices: &Choices) -> Vec<Decision> {
    let each = space.decisions().iter().zip(&choices.0).enumerate();
    each.map(|(number, (decision, &option))| Decision {
        number,
        name: decision.name.clone(),
        option,
        label: decision
            .options
            .get(option as usize)
            .cloned()
            .unwrap_or_default(),
        active: space.is_active(&choices.0[..number]),
    })
    .collect()
}

fn layers(graph: &Graph) -> Vec<Layer> {
    let layer = |(id, node): (usize, &cellwright_graph::Node)| Layer {
        name: node.name.to_string(),
        op: node.layer.op(),
        inputs: node
            .inputs
            .iter()
            .map(|&input| graph.nodes[input].name.to_string())
            .collect(),
        output: [node.shape.channels, node.shape.height, node.shape.width],
        params: graph.node_params(id),
        macs: graph.node_macs(id),
    };
    graph.nodes.iter().enumerate().map(layer).collect()
}

fn show(report: &Report) -> Result<()> {
    let mut layers = table(&["layer", "op", "output", "parameters", "MACs"]);
    for layer in &report.layers {
        let [channels, height, width] = layer.output;
        layers.add_row([
            layer.name.clone(),
            layer.op.to_owned(),
            format!("{channels}x{height}x{width}"),
            thousands(layer.params),
            thousands(layer.macs),
        ]);
    }
    right(&mut layers, &[3, 4]);
    print(layers)?;
    if !report.decisions.is_empty() {
        let mut decisions = table(&["decision", "name", "option", "chosen"]);
        for decision in &report.decisions {
            let label = match decision.active {
                true => &decision.label,
                false => "not active",
            };
            decisions.add_row([
                decision.number.to_string(),
                decision.name.clone(),
                decision.option.to_string(),
                label.to_owned(),
            ]);
        }
        right(&mut decisions, &[0, 2]);
        print(decisions)?;
    }
    print(summary(report))
}

fn summary(report: &Report) -> String {
    let activations = report.activation_bytes.map_or_else(
        || "more than can be counted".to_owned(),
        |bytes| format!("{}B", short(bytes)),
    );
    let [channels, height, width] = report.input;
    let (with, without) = match report.auxiliary_classifiers {
        0 => ("", ""),
        _ => (
            ", with auxiliary classifiers",
            ", without auxiliary classifiers",
        ),
    };
    format!(
        "\n{}  {}x{}x{}, {} classes\n  architecture     {}\n  parameters       {}{with}\n  MACs             {} ({}) an image{without}\n  FLOPs            {} ({})\n  activations      {} for a training step of {} images\n  receptive field  {}x{}",
        report.name,
        channels,
        height,
        width,
        report.classes,
        report.architecture,
        thousands(report.params),
        thousands(report.macs),
        short(report.macs),
        thousands(report.flops),
        short(report.flops),
        activations,
        report.batch,
        report.receptive_field[0],
        report.receptive_field[1],
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn an_architecture_may_begin_with_a_minus() {
        let command = Command::try_parse_from(["inspect", "some.toml", "--arch", "-3"]).unwrap();
        assert_eq!(command.args.which.arch.as_deref(), Some("-3"));
    }

    #[test]
    fn what_auxiliary_classifiers_count_for_is_said() {
        let summary = |key: &str| {
            let text = format!(
                r#"name = "some"
[network]
layers = [
  {{ op = "global_avg_pool" }},
  {{ op = "linear", units = "classes"{key} }},
  {{ op = "linear", units = "classes" }},
]
"#
            );
            let (path, vocabulary) = ("some.toml".as_ref(), cellwright_graph::vocabulary());
            let space = Space::parse(&text, path, &[], vocabulary).unwrap();
            let images = ImageFlags {
                input: None,
                classes: None,
            };
            let choices = space.first();
            let graph = images.graph(&space, &choices).unwrap();
            summary(&report(&space, &choices, &graph, 64))
        };
        let told = summary(", auxiliary = 0.4");
        for expected in [
            "parameters       80, with auxiliary classifiers\n",
            "MACs             30 (30) an image, without auxiliary classifiers\n",
        ] {
            assert!(told.contains(expected), "{told}");
        }
        assert!(!summary("").contains("auxiliary"));
    }
}
