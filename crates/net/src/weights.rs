//! Weights as a safetensors file: parameters and running statistics by name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use cellwright_ops::{Kernels, Running, Vector};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::{Error, Network, Value, whole};

/// A tensor in a file: its dimensions and numbers.
type Stored = (Vec<usize>, Vec<f32>);

impl<D: Kernels> Network<D> {
    /// Writes parameters and running statistics to a safetensors file, under a temporary name until it
    /// is whole. `about` stands under `cellwright` in the file's metadata.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn save(&self, path: &Path, about: &str) -> Result<(), Error> {
        let wrong = |reason: &dyn std::fmt::Display| Error::File {
            path: path.to_owned(),
            reason: reason.to_string(),
        };
        let bytes = self.to_bytes(about).map_err(|reason| wrong(&reason))?;
        whole::write(path, &bytes).map_err(|error| wrong(&error))
    }

    /// Parameters and running statistics as the bytes of a safetensors file, with metadata as in [`save`](Self::save).
    ///
    /// # Errors
    /// What the format refuses, in words: two tensors of one name.
    pub fn to_bytes(&self, about: &str) -> Result<Vec<u8>, String> {
        let stored: Vec<(String, Stored)> = self.stored();
        // The library would panic.
        let mut names = BTreeSet::new();
        if let Some((name, _)) = stored.iter().find(|(name, _)| !names.insert(name)) {
            return Err(format!(
                "two tensors are called '{name}': give the layers different names"
            ));
        }
        let bytes: Vec<(&str, &[usize], Vec<u8>)> = stored
            .iter()
            .map(|(name, (dims, data))| {
                (
                    name.as_str(),
                    dims.as_slice(),
                    data.iter().flat_map(|it| it.to_le_bytes()).collect(),
                )
            })
            .collect();
        let mut views = Vec::with_capacity(bytes.len());
        for (name, dims, data) in &bytes {
            let view = TensorView::new(Dtype::F32, dims.to_vec(), data)
                .map_err(|error| error.to_string())?;
            views.push((*name, view));
        }
        // Several keys would stand in an order of chance.
        let about = HashMap::from([("cellwright".to_owned(), about.to_owned())]);
        safetensors::serialize(views, Some(about)).map_err(|error| error.to_string())
    }

    fn stored(&self) -> Vec<(String, Stored)> {
        let mut all: Vec<(String, Stored)> = self
            .parameters()
            .iter()
            .map(|parameter| {
                (
                    parameter.name.clone(),
                    (parameter.dims.clone(), parameter.value.to_vec()),
                )
            })
            .collect();
        for (layer, running) in self.running() {
            for (what, vector) in [("mean", &running.mean), ("variance", &running.variance)] {
                let data = vector.as_vec();
                all.push((format!("{layer}.running_{what}"), (vec![data.len()], data)));
            }
        }
        all
    }

    /// Reads parameters and running statistics from a safetensors file.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, [`Error::Weights`] when a tensor is missing, left over or
    /// of another shape; nothing is changed then.
    pub fn load(&mut self, path: &Path) -> Result<(), Error> {
        let bytes = std::fs::read(path).map_err(|error| Error::File {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        self.load_bytes(&bytes, path)
    }

    /// As [`Network::load`], from the bytes of a file; `path` is named in errors.
    ///
    /// # Errors
    /// As [`Network::load`].
    pub fn load_bytes(&mut self, bytes: &[u8], path: &Path) -> Result<(), Error> {
        let file = SafeTensors::deserialize(bytes).map_err(|error| Error::File {
            path: path.to_owned(),
            reason: format!("is no safetensors file: {error}"),
        })?;
        let mut found: BTreeMap<String, Stored> = BTreeMap::new();
        for (name, view) in file.tensors() {
            if view.dtype() == Dtype::F32 {
                let numbers = view.data().chunks_exact(4);
                let data = numbers
                    .map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]]))
                    .collect();
                found.insert(name, (view.shape().to_vec(), data));
            }
        }
        self.check_stored(&found).map_err(|reason| Error::Weights {
            path: path.to_owned(),
            reason,
        })?;
        self.restore(found)
    }

    fn check_stored(&self, found: &BTreeMap<String, Stored>) -> Result<(), String> {
        let wanted: BTreeMap<String, Vec<usize>> = self
            .stored()
            .into_iter()
            .map(|(name, (dims, _))| (name, dims))
            .collect();
        let names: BTreeSet<&String> = wanted.keys().collect();
        let there: BTreeSet<&String> = found.keys().collect();
        let first = |names: Vec<&&String>| {
            names
                .iter()
                .take(3)
                .map(|name| format!("'{name}'"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let missing: Vec<_> = names.difference(&there).collect();
        if !missing.is_empty() {
            return Err(format!(
                "{} tensors are missing: {}",
                missing.len(),
                first(missing)
            ));
        }
        let extra: Vec<_> = there.difference(&names).collect();
        if !extra.is_empty() {
            return Err(format!(
                "{} tensors are left over: {}",
                extra.len(),
                first(extra)
            ));
        }
        match wanted.iter().find(|(name, dims)| found[*name].0 != **dims) {
            Some((name, dims)) => Err(format!(
                "'{name}' is {:?} in the file, and {dims:?} here",
                found[name].0
            )),
            None => Ok(()),
        }
    }

    fn restore(&mut self, mut found: BTreeMap<String, Stored>) -> Result<(), Error> {
        let device = self.device().clone();
        for parameter in self.values_mut() {
            if let Some((_, data)) = found.remove(&parameter.name) {
                parameter.value = Value::new(&device, &parameter.dims, data)?;
            }
        }
        for (layer, running) in self.running_mut() {
            restore_running(&device, layer, running, &mut found)?;
        }
        Ok(())
    }
}

fn restore_running<D: Kernels>(
    device: &D,
    layer: &str,
    running: &mut Running<D>,
    found: &mut BTreeMap<String, Stored>,
) -> Result<(), Error> {
    let mut vector = |what: &str| -> Result<Option<Vector<D>>, Error> {
        let Some((dims, data)) = found.remove(&format!("{layer}.running_{what}")) else {
            return Ok(None);
        };
        match Value::new(device, &dims, data)? {
            Value::Vector(vector) => Ok(Some(vector)),
            Value::Matrix(_) | Value::Feature(_) => Ok(None),
        }
    };
    if let Some(mean) = vector("mean")? {
        running.mean = mean;
    }
    if let Some(variance) = vector("variance")? {
        running.variance = variance;
    }
    Ok(())
}
