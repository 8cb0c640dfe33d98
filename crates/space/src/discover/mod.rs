//! Finds all decisions of a file, with what each depends on.
//!
//! The network is walked once with everything that could be in it: all options of every choice, as
//! many repetitions as can be chosen. What is found in a cell is found once, however often the cell
//! is used. A decision that is reachable only for some options of earlier ones gets guards. Decisions stand
//! in the order in which they are met; one of a cell stands after all that any use of the cell depends on.

use std::ops::Range;

use crate::diagnostic::Report;
use crate::expression::Value;
use crate::places::PlaceMap;
use crate::program::{Name, Program};

mod condition;
mod existence;
mod guard;
mod limits;
mod order;
mod repeat;
mod sites;
mod walk;

use guard::Frame;
pub(crate) use guard::Guard;
pub(crate) use limits::DEPTH;

/// Where something is decided or used: the context, the layer (or [`LET`]), the repetition, and the
/// site or the callee.
pub(crate) type Place = (u32, u32, u32, u32);

/// All decisions of a file, and where in it each belongs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Decisions {
    pub list: Vec<Found>,
    /// The decision at a place: the context, the layer (or [`LET`]), the repetition, the site.
    pub at: PlaceMap<Place>,
    /// The context of what a layer uses: the context around, the layer, the repetition, the callee.
    pub contexts: PlaceMap<Place>,
    /// The context of each cell, by its definition.
    pub cells: PlaceMap<usize>,
}

/// The number of a definition's `let`s where a layer's number is expected.
pub(crate) const LET: u32 = u32::MAX;

/// What `index` is outside of any repetition: in the network, and in a block or a cell whatever it is
/// repeated by where it is used.
pub(crate) const OUTSIDE: i64 = 0;

/// One decision.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub name: String,
    /// What `require` calls it: its `name`, or else the key or `let` that it is the value of.
    pub word: String,
    /// Its place in the file, in bytes.
    pub span: Range<usize>,
    pub labels: Vec<String>,
    pub meaning: Meaning,
    /// It is active where one of these holds; none: always.
    pub guards: Vec<Vec<Guard>>,
    /// What must hold for each option.
    pub option_guards: Vec<Vec<Guard>>,
}

/// What an option means.
#[derive(Debug, Clone)]
pub(crate) enum Meaning {
    /// A value, where it is a constant.
    Values(Vec<Option<Value>>),
    Callees,
    /// Tensors: a name and which of the tensors it stands for.
    Tensors(Vec<Vec<(Name, u32)>>),
    /// Whether a tensor is taken.
    Member(Name, u32),
}

struct Walker<'w, 't> {
    program: &'w Program,
    report: &'w mut Report<'t>,
    decisions: Decisions,
    /// The number of each decision, in the order in which they are met; none: that order itself.
    numbers: &'w [u32],
    /// How many were met.
    met: usize,
    paths: Vec<String>,
    steps: usize,
    /// Options and guards so far.
    options: usize,
    guards: usize,
    full: bool,
    /// A value depends on decisions through too large an expression.
    entangled: bool,
}

/// Finds the decisions of a program.
pub(crate) fn discover(program: &Program, report: &mut Report<'_>) -> Decisions {
    let found = walk(program, report, Vec::new(), &[]);
    if !report.is_clean() {
        return found;
    }
    match order::numbers(&found.list) {
        Ok(None) => found,
        // Met in the same order once more, each gets its number, which all that depend on it know.
        Ok(Some(numbers)) => walk(program, report, found.list, &numbers),
        Err(id) => {
            let help = "make one of the cells a block, or use it once where nothing is chosen";
            report.error(
                found.list[id].span.clone(),
                "whether this is decided depends on itself: its cell and another are used in each other, each where the other decides so",
                Some(help.to_owned()),
            );
            found
        }
    }
}

/// Walks the network. With numbers, `list` holds something for each decision, to be replaced.
fn walk(
    program: &Program,
    report: &mut Report<'_>,
    list: Vec<Found>,
    numbers: &[u32],
) -> Decisions {
    let mut walker = Walker {
        program,
        report,
        decisions: Decisions {
            list,
            ..Decisions::default()
        },
        numbers,
        met: 0,
        paths: Vec::new(),
        steps: 0,
        options: 0,
        guards: 0,
        full: false,
        entangled: false,
    };
    if let Some(network) = program.definitions.get(program.network)
        && network.chooses
    {
        let context = walker.cell(program.network);
        let frame = Frame {
            index: Some(OUTSIDE),
            ..Frame::default()
        };
        walker.definition(program.network, context, frame, &[], 0);
        if let Some(layer) = program.definitions[program.network].layers.last() {
            walker.check_limits(layer, 0);
        }
    }
    walker.decisions
}

/// How many tensors a layer's name stands for, each with what must hold for it to be there.
type Instances = Option<Vec<Vec<Guard>>>;
