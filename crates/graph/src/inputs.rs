//! The inputs of a node: most nodes have one or two, which then need no memory of their own.

use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::NodeId;

/// The nodes that a node takes, in order; reads as a slice.
#[derive(Clone)]
pub struct Inputs(Kept);

#[derive(Clone)]
enum Kept {
    None,
    One([NodeId; 1]),
    Two([NodeId; 2]),
    Many(Box<[NodeId]>),
}

impl From<&[NodeId]> for Inputs {
    fn from(ids: &[NodeId]) -> Self {
        Self(match *ids {
            [] => Kept::None,
            [one] => Kept::One([one]),
            [a, b] => Kept::Two([a, b]),
            _ => Kept::Many(ids.into()),
        })
    }
}

impl From<Vec<NodeId>> for Inputs {
    fn from(ids: Vec<NodeId>) -> Self {
        ids.as_slice().into()
    }
}

impl Deref for Inputs {
    type Target = [NodeId];

    fn deref(&self) -> &[NodeId] {
        match &self.0 {
            Kept::None => &[],
            Kept::One(ids) => ids,
            Kept::Two(ids) => ids,
            Kept::Many(ids) => ids,
        }
    }
}

impl DerefMut for Inputs {
    fn deref_mut(&mut self) -> &mut [NodeId] {
        match &mut self.0 {
            Kept::None => &mut [],
            Kept::One(ids) => ids,
            Kept::Two(ids) => ids,
            Kept::Many(ids) => ids,
        }
    }
}

impl<'a> IntoIterator for &'a Inputs {
    type Item = &'a NodeId;
    type IntoIter = std::slice::Iter<'a, NodeId>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for Inputs {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl Serialize for Inputs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Inputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}
