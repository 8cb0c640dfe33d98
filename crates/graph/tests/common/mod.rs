//! Loading the space files of the repository.

use std::path::{Path, PathBuf};

use cellwright_graph::{Graph, Shape, vocabulary};
use cellwright_space::{Choices, Space};

/// The folder of the space files.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../search-spaces")
}

/// A space of the repository, with parameters set as on the command line.
pub fn space(file: &str, set: &[(&str, &str)]) -> Space {
    let set: Vec<(String, String)> = set
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    match Space::load(&folder().join(file), &set, vocabulary()) {
        Ok(space) => space,
        Err(errors) => panic!("{errors}"),
    }
}

/// An architecture at the file's own input size and classes.
pub fn graph(space: &Space, choices: &Choices) -> Graph {
    let (input, classes) = (space.default_input(), space.default_classes());
    match Graph::build(space, choices, input.unwrap(), classes.unwrap()) {
        Ok(graph) => graph,
        Err(error) => panic!("{} {choices}: {error}", space.name()),
    }
}

/// The graph of a file without decisions.
#[allow(dead_code, reason = "not every test crate needs it")]
pub fn baseline(file: &str, set: &[(&str, &str)]) -> Graph {
    let space = space(file, set);
    assert!(space.decisions().is_empty(), "{file} has decisions");
    graph(&space, &Choices::default())
}

/// A square image.
#[allow(dead_code, reason = "not every test crate needs it")]
pub fn image(size: usize, channels: usize) -> Shape {
    Shape {
        height: size,
        width: size,
        channels,
    }
}
