//! One kernel launch as plain data: what the CUDA executor hands to the driver, and what the tests run without a GPU.

use crate::Error;

/// An address in the device's memory; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pointer(pub u64);

impl Pointer {
    /// No address: the kernel leaves out what it would do there.
    pub const NULL: Self = Self(0);

    /// Whether a kernel can read four numbers at once from here.
    #[must_use]
    pub fn is_aligned(self) -> bool {
        self.0.is_multiple_of(16)
    }
}

/// One argument of a kernel, of the type that its C++ parameter has.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    /// `T*`
    Pointer(Pointer),
    /// `int`
    Int(i32),
    /// `long long`
    Long(i64),
    /// `unsigned long long`
    Bits(u64),
    /// `float`
    Float(f32),
    /// `double`
    Double(f64),
    /// A structure passed by value whose alignment is 8.
    Struct(Vec<u64>),
}

impl Argument {
    /// Where the argument's bytes are: an entry of the driver's `kernelParams`.
    pub fn address(&self) -> *const std::ffi::c_void {
        match self {
            Self::Pointer(Pointer(v)) | Self::Bits(v) => std::ptr::from_ref(v).cast(),
            Self::Int(v) => std::ptr::from_ref(v).cast(),
            Self::Long(v) => std::ptr::from_ref(v).cast(),
            Self::Float(v) => std::ptr::from_ref(v).cast(),
            Self::Double(v) => std::ptr::from_ref(v).cast(),
            Self::Struct(words) => words.as_ptr().cast(),
        }
    }
}

/// A kernel, its grid, and its arguments in order. No launch needs dynamic shared memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// The kernel's name in the module.
    pub kernel: &'static str,
    /// Whether the numbers of tensors are bfloat16: the kernel is that of the other module.
    pub bf16: bool,
    /// Blocks of the grid.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// The arguments.
    pub arguments: Vec<Argument>,
}

/// Blocks of a grid that the driver takes along its second and third axis.
pub(super) const MOST_ACROSS: usize = 65_535;

/// Collects the arguments of a launch; a size that does not fit is an error at the end.
#[derive(Debug)]
pub(super) struct Builder {
    launch: Launch,
    too_large: Option<usize>,
}

impl Builder {
    pub(super) fn new(kernel: &'static str, grid: [usize; 3], block: [u32; 3]) -> Self {
        let limits = [i32::MAX as usize, MOST_ACROSS, MOST_ACROSS];
        let beyond = grid.iter().zip(limits).find(|&(&g, limit)| g > limit);
        Self {
            launch: Launch {
                kernel,
                bf16: false,
                grid: grid.map(|g| u32::try_from(g.max(1)).unwrap_or(u32::MAX)),
                block,
                arguments: Vec::new(),
            },
            too_large: beyond.map(|(&g, _)| g),
        }
    }

    /// Refuses `work` that an int does not hold.
    pub(super) fn counted(mut self, work: usize) -> Self {
        if i32::try_from(work).is_err() {
            self.too_large = Some(work);
        }
        self
    }

    pub(super) fn pointers<const N: usize>(mut self, pointers: [Pointer; N]) -> Self {
        let arguments = pointers.into_iter().map(Argument::Pointer);
        self.launch.arguments.extend(arguments);
        self
    }

    pub(super) fn ints(mut self, values: impl IntoIterator<Item = usize>) -> Self {
        for value in values {
            let int = i32::try_from(value).unwrap_or_else(|_| {
                self.too_large = Some(value);
                0
            });
            self.launch.arguments.push(Argument::Int(int));
        }
        self
    }

    pub(super) fn long(self, value: usize) -> Self {
        self.argument(Argument::Long(value as i64))
    }

    pub(super) fn flag(self, value: bool) -> Self {
        self.argument(Argument::Int(value.into()))
    }

    pub(super) fn floats<const N: usize>(mut self, values: [f32; N]) -> Self {
        let arguments = values.into_iter().map(Argument::Float);
        self.launch.arguments.extend(arguments);
        self
    }

    pub(super) fn doubles<const N: usize>(mut self, values: [f64; N]) -> Self {
        let arguments = values.into_iter().map(Argument::Double);
        self.launch.arguments.extend(arguments);
        self
    }

    /// A structure of words, for kernels that take lists.
    pub(super) fn structure(self, words: Vec<u64>) -> Self {
        self.argument(Argument::Struct(words))
    }

    pub(super) fn argument(mut self, argument: Argument) -> Self {
        self.launch.arguments.push(argument);
        self
    }

    pub(super) fn build(self) -> Result<Launch, Error> {
        match self.too_large {
            None => Ok(self.launch),
            Some(size) => Err(Error::shape(
                self.launch.kernel,
                format!("a size of {size} is larger than a kernel takes"),
            )),
        }
    }
}

/// Two words of 32 bits each, packed as the fields of a structure lie in memory.
pub(super) fn pack(words: impl IntoIterator<Item = u32>) -> Vec<u64> {
    let words: Vec<u32> = words.into_iter().collect();
    let pairs = words.chunks(2);
    pairs
        .map(|pair| {
            let second = pair.get(1).copied().unwrap_or_default();
            let mut bytes = [0; 8];
            bytes[..4].copy_from_slice(&pair[0].to_ne_bytes());
            bytes[4..].copy_from_slice(&second.to_ne_bytes());
            u64::from_ne_bytes(bytes)
        })
        .collect()
}
