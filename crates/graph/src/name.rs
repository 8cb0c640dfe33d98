//! The names of a graph's nodes: one text holds all of them, so that a node needs no memory for its own.

use std::fmt::{self, Write};
use std::ops::{Deref, Range};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of a node; reads as a text. Cheap to clone.
#[derive(Clone, Default)]
pub struct Name {
    all: Option<Arc<str>>,
    start: u32,
    end: u32,
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        let mut names = Names::default();
        let fits = names.push(name);
        names.shared().next().filter(|_| fits).unwrap_or_default()
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        let range = self.start as usize..self.end as usize;
        let all = self.all.as_deref().unwrap_or_default();
        all.get(range).unwrap_or_default()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|name| Self::from(name.as_str()))
    }
}

/// All names take at most so many bytes, for blocks of long names used in each other.
const MOST_BYTES: usize = 1 << 28;

/// The names of a graph under construction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    text: String,
    ends: Vec<u32>,
}

impl Names {
    pub(crate) fn with_capacity(names: usize) -> Self {
        Self {
            text: String::with_capacity(32 * names),
            ends: Vec::with_capacity(names),
        }
    }

    /// Adds a name. False, and not added, where all names would take too much memory.
    pub(crate) fn push(&mut self, name: impl fmt::Display) -> bool {
        let start = self.text.len();
        let written = write!(self.text, "{name}").is_ok();
        let fits = written && self.text.len() <= MOST_BYTES;
        if fits {
            self.ends.push(self.text.len() as u32);
        } else {
            self.text.truncate(start);
        }
        fits
    }

    pub(crate) fn get(&self, index: usize) -> &str {
        &self.text[self.range(index)]
    }

    fn range(&self, index: usize) -> Range<usize> {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        start as usize..self.ends[index] as usize
    }

    /// The names in order, which share one text.
    pub(crate) fn shared(self) -> impl Iterator<Item = Name> {
        let all: Arc<str> = self.text.into();
        let mut start = 0;
        self.ends.into_iter().map(move |end| Name {
            all: Some(Arc::clone(&all)),
            start: std::mem::replace(&mut start, end),
            end,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{Builder, Graph, Layer, Linear, Shape};

    #[test]
    fn names_and_inputs_are_plain_texts_and_lists_in_json() {
        let image = Shape {
            height: 4,
            width: 4,
            channels: 2,
        };
        let mut builder = Builder::new(image, 3);
        let sum = builder.layer("a/sum", Layer::Add, &[0, 0, 0]).unwrap();
        // It feeds no output, so it is dropped, and those after it keep their own names.
        builder.layer("unused", Layer::Add, &[sum, 0]).unwrap();
        let pool = Layer::GlobalAveragePool;
        let pooled = builder.layer("b/pool", pool, &[sum]).unwrap();
        let head = Layer::Linear(Linear {
            units: 3,
            bias: true,
        });
        let logits = builder.layer("head", head, &[pooled]).unwrap();
        let graph = builder.finish(logits).unwrap();

        let json = serde_json::to_value(&graph).unwrap();
        let names: Vec<_> = graph.nodes.iter().map(|node| &*node.name).collect();
        assert_eq!(names, ["input", "a/sum", "b/pool", "head"]);
        assert_eq!(json["nodes"][1]["name"], "a/sum");
        assert_eq!(json["nodes"][1]["inputs"], serde_json::json!([0, 0, 0]));
        assert_eq!(json["nodes"][0]["inputs"], serde_json::json!([]));
        assert_eq!(serde_json::from_value::<Graph>(json).unwrap(), graph);
    }
}
