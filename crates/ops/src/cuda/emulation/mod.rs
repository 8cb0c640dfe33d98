//! The CUDA kernels run on the host: their source compiled as C++ with a header that stands for CUDA, and the launches
//! of [`super::kernels`] run thread by thread. What it finds are wrong indices, arguments, grids and missing barriers;
//! what it cannot find is what depends on the GPU's memory model or its speed. With the feature `cuda` and a GPU, the same
//! checks run there as well.

mod affine;
mod batch;
mod batch_norm;
mod bf16;
mod buffer;
mod columns;
mod combine;
mod convolution;
mod convolution_narrow;
mod convolution_narrow_input;
mod dense;
mod depthwise;
#[cfg(feature = "ci-check")]
mod driver;
mod elementwise;
#[cfg(feature = "cuda")]
mod executor;
mod library;
mod loss;
mod memory;
mod optimiser;
mod pointwise;
mod pool;
mod product;
mod programs;
mod resident;
mod script;
mod transpose;

use std::collections::BTreeSet;
use std::sync::Mutex;

use super::Launch;
use super::launch::Argument;
use buffer::Buffer;
use library::Library;

/// The checks. When all have run, every kernel must have been launched.
const CHECKS: &[&str] = &[
    "affine",
    "batch",
    "batch_norm",
    "bf16",
    "bias",
    "columns",
    "combine",
    "convolution",
    "convolution, bias",
    "convolution, few terms",
    "convolution, narrow",
    "convolution, narrow input",
    "convolution, narrow weights",
    "depthwise",
    "elementwise",
    "loss",
    "loss, NaN",
    "optimiser",
    "pointwise",
    "pool",
    "pool, NaN",
    "product",
    "resident",
    "script",
    "transpose",
];

static LAUNCHED: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
static DONE: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());

/// Runs `check` on the host, with the threads in order and reversed, and on a GPU if there is one; does nothing, with a
/// message, without a C++ compiler.
fn check(name: &'static str, check: impl Fn(&Emulator)) {
    assert!(CHECKS.contains(&name));
    let Some(library) = library::get() else {
        return;
    };
    for reversed in [false, true] {
        let exact = false;
        let place = Place::Host { reversed, exact };
        check(&Emulator { library, place });
    }
    #[cfg(feature = "cuda")]
    if let Some(device) = gpu() {
        let place = Place::Gpu(device);
        check(&Emulator { library, place });
    }
    let mut done = DONE.lock().unwrap();
    done.insert(name);
    if done.len() == CHECKS.len() {
        let launched = LAUNCHED.lock().unwrap();
        let missing = library.kernels.iter();
        let missing: Vec<_> = missing.filter(|k| !launched.contains(k.as_str())).collect();
        assert!(missing.is_empty(), "never launched: {missing:?}");
    }
}

/// Set where the GPU is the host: see the module `driver`.
#[cfg(feature = "cuda")]
const INSIDE: &str = "CELLWRIGHT_INSIDE_STAND_IN";

/// Whether the GPU is the host, which is thousands of times slower.
#[cfg(feature = "cuda")]
fn is_stand_in() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// The first GPU; none, with a message, where there is none or its libraries are not found.
#[cfg(feature = "cuda")]
fn gpu() -> Option<&'static std::sync::Arc<super::device::Device>> {
    use std::sync::{Arc, OnceLock};
    static GPU: OnceLock<Option<Arc<super::device::Device>>> = OnceLock::new();
    let found = GPU.get_or_init(|| match super::device::Device::get(0) {
        Ok(device) => Some(device),
        Err(error) => {
            eprintln!("the kernels are checked on the host alone: {error}");
            None
        }
    });
    found.as_ref()
}

/// Where launches run.
enum Place {
    /// On the host, the threads perhaps from the last to the first, tensor cores perhaps without rounding.
    Host { reversed: bool, exact: bool },
    /// On a GPU.
    #[cfg(feature = "cuda")]
    Gpu(&'static super::device::Device),
}

/// Stands for the device, or is one.
struct Emulator {
    library: &'static Library,
    place: Place,
}

impl Emulator {
    /// One whose tensor cores do not round, so that what they do can be compared closely; a GPU has none.
    fn exact(&self) -> Option<Self> {
        let reversed = match self.place {
            Place::Host { reversed, .. } => reversed,
            #[cfg(feature = "cuda")]
            Place::Gpu(_) => return None,
        };
        let exact = true;
        Some(Self {
            library: self.library,
            place: Place::Host { reversed, exact },
        })
    }

    /// Runs launches one after the other, after checking their arguments against the kernels' parameters.
    fn run(&self, launches: &[Launch]) {
        for launch in launches {
            let (expected, size) = self.library.signature(launch.kernel);
            let letters = launch.arguments.iter().map(|argument| match argument {
                Argument::Pointer(_) => 'p',
                Argument::Int(_) => 'i',
                Argument::Long(_) => 'l',
                Argument::Bits(_) => 'b',
                Argument::Float(_) => 'f',
                Argument::Double(_) => 'd',
                Argument::Struct(_) => 's',
            });
            assert_eq!(letters.collect::<String>(), expected, "{}", launch.kernel);
            let structures = launch.arguments.iter().map(|argument| match argument {
                Argument::Struct(words) => 8 * words.len(),
                _ => 0,
            });
            assert_eq!(structures.sum::<usize>(), size, "{}", launch.kernel);
            match &self.place {
                Place::Host { reversed, exact } => self.library.launch(launch, *reversed, *exact),
                #[cfg(feature = "cuda")]
                Place::Gpu(device) => device.run(launch).unwrap(),
            }
            LAUNCHED.lock().unwrap().insert(launch.kernel);
        }
    }
}

/// Fails unless all numbers are within 1e-5 of the expected ones; see [`assert_within`].
fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
    assert_within(1e-5, what, found, expected);
}

/// Fails unless all numbers are within a tolerance of the expected ones, relative to the larger of 1 and the largest of
/// them: sums of many numbers of mixed signs have errors of that size.
fn assert_within(tolerance: f32, what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}: lengths");
    let size = expected.iter().fold(1.0f32, |m, v| m.max(v.abs()));
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f - e).abs() <= tolerance * size,
            "{what}: number {i} of {} is {f}, expected {e}",
            found.len()
        );
    }
}

/// What was there and the gradient, for a kernel that adds; else the gradient alone.
fn on_top(old: Option<&[f32]>, gradient: &[f32]) -> Vec<f32> {
    match old {
        None => gradient.to_vec(),
        Some(old) => old.iter().zip(gradient).map(|(o, g)| o + g).collect(),
    }
}

/// Pixels of so many channels, with NaN between them so that each begins `stride` numbers after the one before.
fn spaced(numbers: &[f32], channels: usize, stride: usize) -> Vec<f32> {
    let pixels = numbers.chunks(channels);
    let space = vec![f32::NAN; stride - channels];
    pixels.flat_map(|it| [it, &space].concat()).collect()
}

/// The same without what is between them; fails if that was written.
fn together(numbers: &[f32], channels: usize, stride: usize) -> Vec<f32> {
    let mut pixels = numbers.chunks(stride);
    assert!(pixels.all(|it| it[channels..].iter().all(|it| it.is_nan())));
    let pixels = numbers.chunks(stride);
    pixels.flat_map(|it| it[..channels].to_vec()).collect()
}

/// Numbers from a pixel to the next: the channels, or more.
fn some_stride(channels: usize, random: &mut crate::testing::Random) -> usize {
    channels + if random.flip() { 4 } else { 0 }
}

/// A buffer for a gradient: of the old numbers if it is added to, else of NaN.
fn target(old: Option<&[f32]>, length: usize) -> Buffer {
    match old {
        None => Buffer::poisoned::<f32>(length),
        Some(old) => Buffer::of(old),
    }
}
