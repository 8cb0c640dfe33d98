//! Memory of the emulated device, between guards.

use crate::cuda::Pointer;

/// Sixteen bytes at an address that 16 divides, as the device's allocator would give at least.
#[derive(Clone, Copy)]
#[repr(align(16))]
struct Line(#[allow(dead_code)] [u8; 16]);

/// All bits set: NaN as f32 and f64.
const POISON: u8 = 0xff;
/// Lines before and after the numbers that no kernel may write; read as numbers, they are NaN.
const GUARD: usize = 64;

/// Plain numbers, any bits of which are a value.
pub(super) trait Plain: Copy {}
impl Plain for f32 {}
impl Plain for f64 {}
impl Plain for u8 {}
impl Plain for u32 {}
impl Plain for u64 {}

/// A buffer of numbers. Where a GPU runs the checks too, host and device see it at one address.
pub(super) struct Buffer {
    start: *mut Line,
    lines: usize,
    bytes: usize,
    /// What frees the lines.
    _owner: Owner,
}

enum Owner {
    Host(#[allow(dead_code)] Vec<Line>),
    #[cfg(feature = "cuda")]
    Shared(#[allow(dead_code)] crate::cuda::device::Shared),
}

/// Memory for `lines` lines.
fn allocate(lines: usize) -> (*mut Line, Owner) {
    #[cfg(feature = "cuda")]
    if let Some(device) = super::gpu() {
        let shared = device.share(lines * size_of::<Line>()).unwrap();
        return (shared.start().cast(), Owner::Shared(shared));
    }
    let mut all = vec![Line([POISON; 16]); lines];
    (all.as_mut_ptr(), Owner::Host(all))
}

impl Buffer {
    /// A copy of `values`.
    pub(super) fn of<T: Plain>(values: &[T]) -> Self {
        let mut buffer = Self::poisoned::<T>(values.len());
        // SAFETY: the buffer has just been made that large.
        unsafe {
            let to = buffer.start().cast::<T>();
            to.copy_from_nonoverlapping(values.as_ptr(), values.len());
        }
        buffer
    }

    /// `length` numbers with all bits set.
    pub(super) fn poisoned<T: Plain>(length: usize) -> Self {
        let bytes = length * size_of::<T>();
        let lines = 2 * GUARD + bytes.div_ceil(16);
        let (start, owner) = allocate(lines);
        // SAFETY: the memory has just been made that large.
        unsafe { start.write_bytes(POISON, lines) };
        Self {
            start,
            lines,
            bytes,
            _owner: owner,
        }
    }

    fn start(&mut self) -> *mut u8 {
        // SAFETY: the guard before is part of the lines.
        unsafe { self.start.add(GUARD).cast() }
    }

    /// The device's address of the first number.
    pub(super) fn pointer(&mut self) -> Pointer {
        Pointer(self.start().expose_provenance() as u64)
    }

    /// The numbers; fails if a guard was written.
    pub(super) fn read<T: Plain>(&mut self) -> Vec<T> {
        let bytes = self.bytes;
        // SAFETY: these are the bytes of the lines.
        let all = unsafe { std::slice::from_raw_parts(self.start.cast::<u8>(), 16 * self.lines) };
        let guards = [&all[..16 * GUARD], &all[16 * GUARD + bytes..]].concat();
        assert!(guards.iter().all(|&b| b == POISON), "written out of bounds");
        let start = self.start().cast::<T>();
        // SAFETY: the buffer holds `bytes` bytes from here, of plain numbers.
        let values = unsafe { std::slice::from_raw_parts(start, bytes / size_of::<T>()) };
        values.to_vec()
    }
}
