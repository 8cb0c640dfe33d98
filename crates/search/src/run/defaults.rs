//! What a run uses where nothing is said: picked from what is at hand, with the reason in words.

use std::path::Path;

use super::DeviceSpec;
use crate::Error;

/// A default and why it was picked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked<T> {
    /// What was picked.
    pub value: T,
    /// Why, as the end of a sentence: `no CUDA in this build`.
    pub why: String,
}

/// The device where none is said: the first CUDA device if the build and the machine have one.
#[must_use]
pub fn pick_device() -> Picked<DeviceSpec> {
    #[cfg(feature = "cuda")]
    return match crate::evaluator::cuda_available() {
        Ok(()) => Picked {
            value: DeviceSpec::Cuda(0),
            why: "a CUDA device is there".to_owned(),
        },
        Err(reason) => Picked {
            value: DeviceSpec::Cpu,
            why: reason.to_string(),
        },
    };
    #[cfg(not(feature = "cuda"))]
    Picked {
        value: DeviceSpec::Cpu,
        why: "this build has no CUDA".to_owned(),
    }
}

/// The data set where none is said: CIFAR-10 on a GPU, Fashion-MNIST on a CPU, fetched where they
/// are not on disk; the embedded digits where they cannot be had.
///
/// `told` is called with the name of what is about to be fetched, and with how far it is.
#[must_use]
pub fn pick_dataset(device: DeviceSpec, root: &Path, told: &mut dyn FnMut(&str)) -> Picked<String> {
    let (wanted, why) = match device {
        DeviceSpec::Cpu => ("fashion-mnist", "small enough for a CPU"),
        DeviceSpec::Cuda(_) => ("cifar10", "the usual one for a GPU"),
    };
    match available(wanted, root, told) {
        Ok(()) => Picked {
            value: wanted.to_owned(),
            why: why.to_owned(),
        },
        Err(_) => Picked {
            value: "digits".to_owned(),
            why: format!(
                "{wanted} is not here and could not be fetched; `cellwright data fetch {wanted}` says why"
            ),
        },
    }
}

fn available(name: &str, root: &Path, told: &mut dyn FnMut(&str)) -> Result<(), Error> {
    if cellwright_data::is_present(name, root)? {
        return Ok(());
    }
    told(&format!("fetching {name} into {}", root.display()));
    cellwright_data::fetch(name, root, told)?;
    Ok(())
}
