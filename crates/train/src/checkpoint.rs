//! A training's state in one file, from which it goes on with the same bits.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use cellwright_net::{Network, whole};
use cellwright_ops::Kernels;
use cellwright_ops::optimiser::State;
use safetensors::tensor::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use crate::{EpochRecord, Error, Settings};

/// What a checkpoint holds beside tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub settings: Settings,
    pub identity: String,
    /// The digest of the data set.
    #[serde(default)]
    images: String,
    pub epoch: usize,
    pub curve: Vec<EpochRecord>,
    pub train_seconds: f64,
    optimiser_steps: u64,
    /// Numbers of each moment of each parameter.
    moments: Vec<Vec<usize>>,
}

/// The name under which the network's own file is kept in a checkpoint.
const NETWORK: &str = "network";
/// The name of a moment's numbers, all parameters after each other.
const MOMENT: &str = "moment";
/// The key of the place in the file's metadata.
const PLACE: &str = "cellwright_training";

struct Bytes<'b>(Dtype, Vec<usize>, Cow<'b, [u8]>);

impl View for &Bytes<'_> {
    fn dtype(&self) -> Dtype {
        self.0
    }
    fn shape(&self) -> &[usize] {
        &self.1
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.2)
    }
    fn data_len(&self) -> usize {
        self.2.len()
    }
}

impl Place {
    pub fn new(
        settings: &Settings,
        (identity, images): (&str, &str),
        epoch: usize,
        curve: &[EpochRecord],
        train_seconds: f64,
    ) -> Self {
        Place {
            settings: settings.clone(),
            identity: identity.to_owned(),
            images: images.to_owned(),
            epoch,
            curve: curve.to_vec(),
            train_seconds,
            optimiser_steps: 0,
            moments: Vec::new(),
        }
    }
}

/// Writes a checkpoint, under a temporary name until it is whole.
pub(crate) fn write<D: Kernels>(
    path: &Path,
    mut place: Place,
    network: &Network<D>,
    state: &State,
) -> Result<(), Error> {
    let wrong = |reason: String| Error::Checkpoint {
        path: path.to_owned(),
        reason,
    };
    place.optimiser_steps = state.steps;
    place.moments = state
        .moments
        .iter()
        .map(|moment| moment.iter().map(Vec::len).collect())
        .collect();
    let weights = network.to_bytes("checkpoint").map_err(wrong)?;
    let mut tensors = vec![(
        NETWORK.to_owned(),
        Bytes(Dtype::U8, vec![weights.len()], Cow::Owned(weights)),
    )];
    for (index, moment) in state.moments.iter().enumerate() {
        let data: Vec<u8> = moment
            .iter()
            .flatten()
            .flat_map(|it| it.to_le_bytes())
            .collect();
        tensors.push((
            format!("{MOMENT}{index}"),
            Bytes(Dtype::F32, vec![data.len() / 4], Cow::Owned(data)),
        ));
    }
    let place = serde_json::to_string(&place).map_err(|error| wrong(error.to_string()))?;
    let metadata = HashMap::from([(PLACE.to_owned(), place)]);
    let views = tensors.iter().map(|(name, bytes)| (name.as_str(), bytes));
    let bytes =
        safetensors::serialize(views, Some(metadata)).map_err(|error| wrong(error.to_string()))?;
    whole::write(path, &bytes).map_err(|error| wrong(error.to_string()))
}

/// The settings that differ, each with its value in the checkpoint and in this training.
fn differing(there: &Settings, here: &Settings) -> Result<Vec<String>, serde_json::Error> {
    type Fields = BTreeMap<String, serde_json::Value>;
    let fields = |it: &Settings| serde_json::from_value::<Fields>(serde_json::to_value(it)?);
    let (there, here) = (fields(there)?, fields(here)?);
    let value = |fields: &Fields, name: &str| {
        let value = fields.get(name).map(ToString::to_string);
        value.unwrap_or_else(|| "the default".to_owned())
    };
    let names: BTreeSet<&String> = there.keys().chain(here.keys()).collect();
    let differing = names
        .into_iter()
        .filter(|it| there.get(*it) != here.get(*it));
    Ok(differing
        .map(|it| {
            format!(
                "{it} is {} there and {} here",
                value(&there, it),
                value(&here, it)
            )
        })
        .collect())
}

/// Reads a checkpoint into a network; where the training was, and the optimiser's state. None where
/// there is no file.
pub(crate) fn read<D: Kernels>(
    path: &Path,
    settings: &Settings,
    (identity, images): (&str, &str),
    network: &mut Network<D>,
) -> Result<Option<(Place, State)>, Error> {
    let wrong = |reason: &str| Error::Checkpoint {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(&error.to_string())),
    };
    let damaged = "is damaged; delete it to begin anew";
    let file = SafeTensors::deserialize(&bytes).map_err(|_| wrong(damaged))?;
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|_| wrong(damaged))?;
    let place = metadata
        .metadata()
        .as_ref()
        .and_then(|it| it.get(PLACE))
        .ok_or_else(|| wrong(damaged))?;
    let place: Place = serde_json::from_str(place).map_err(|_| wrong(damaged))?;
    if place.identity != identity {
        return Err(wrong(
            "is of another architecture; name another file, or delete it to begin anew",
        ));
    }
    if place.images.is_empty() {
        return Err(wrong(
            "does not say of which images, as those of older versions; name another file, or delete it to begin anew",
        ));
    }
    if place.images != images {
        return Err(wrong(
            "is of a training on other images; name another file, or delete it to begin anew",
        ));
    }
    let device = network.device();
    let mut there = place.settings.clone();
    // Neither makes another training: how long it may take, nor a precision in whose stead the device computes in the same.
    there.seconds_limit = settings.seconds_limit;
    if device.computes_in(there.precision)? == device.computes_in(settings.precision)? {
        there.precision = settings.precision;
    }
    let differing = differing(&there, settings).map_err(|error| wrong(&error.to_string()))?;
    if !differing.is_empty() {
        return Err(wrong(&format!(
            "is of a training with other settings ({}); give the same, name another file, or delete it to begin anew",
            differing.join(", ")
        )));
    }
    let weights = file.tensor(NETWORK).map_err(|_| wrong(damaged))?;
    network.load_bytes(weights.data(), path)?;
    let mut state = State {
        steps: place.optimiser_steps,
        moments: Vec::new(),
    };
    for (index, lengths) in place.moments.iter().enumerate() {
        let moment = file
            .tensor(&format!("{MOMENT}{index}"))
            .map_err(|_| wrong(damaged))?;
        let numbers = moment
            .data()
            .chunks_exact(4)
            .map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]]));
        let mut numbers = numbers.collect::<Vec<f32>>().into_iter();
        let split: Vec<Vec<f32>> = lengths
            .iter()
            .map(|&length| numbers.by_ref().take(length).collect())
            .collect();
        if split.iter().map(Vec::len).ne(lengths.iter().copied()) {
            return Err(wrong(damaged));
        }
        state.moments.push(split);
    }
    Ok(Some((place, state)))
}
