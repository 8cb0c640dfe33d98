//! The one place that reaches into the memory of dfdx's CPU tensors, and the store of used buffers.
//!
//! dfdx keeps a tensor's buffer private, but indexes CPU tensors publicly: the address of the first
//! element is the buffer. Outputs become tensors without a copy ([`tensor`]). Fresh memory from the
//! system costs a page fault for every 4 KiB, more than the arithmetic on it, so large buffers are
//! kept: [`take`] reuses what [`give`] brought back.

use std::collections::BTreeMap;
use std::sync::{Mutex, Once};

use dfdx::shapes::{HasShape, Shape};
use dfdx::tensor::{Cpu, Storage, Tensor, TensorFromVec};

use crate::Error;

/// A gradient's buffer on the CPU; it dereferences to `Vec<f32>`.
pub type GradientBuffer = <Cpu as Storage<f32>>::Vec;

/// The elements of a CPU tensor in row-major order, without a copy.
///
/// # Errors
/// [`Error::Shape`] if the tensor is a permuted or broadcast view, whose buffer has another order.
pub fn read<'t, S: Shape>(
    operation: &'static str,
    tensor: &'t Tensor<S, f32, Cpu>,
) -> Result<&'t [f32], Error> {
    let dims: Vec<usize> = tensor.shape().concrete().into_iter().collect();
    let len = dims.iter().product();
    if len == 0 {
        return Ok(&[]);
    }
    let mut index = tensor.shape().concrete();
    (0..dims.len()).for_each(|axis| index[axis] = 0);
    let first: *const f32 = &tensor[index];
    let mut step = 1;
    for axis in (0..dims.len()).rev() {
        if dims[axis] > 1 {
            index[axis] = 1;
            let next: *const f32 = &tensor[index];
            index[axis] = 0;
            if next as usize - (first as usize).min(next as usize) != step * size_of::<f32>() {
                return Err(Error::shape(
                    operation,
                    format!("an input of shape {dims:?} is a permuted or broadcast view"),
                ));
            }
        }
        step *= dims[axis];
    }
    // SAFETY: the strides were found to be those of row-major order, so the `len` elements from
    // `first` on are the tensor's elements, inside one Vec that lives as long as the tensor and
    // that no one can write to while the tensor is borrowed.
    Ok(unsafe { std::slice::from_raw_parts(first, len) })
}

/// The elements of a contiguous CPU tensor, for writing in place. If the buffer is shared with
/// another tensor it is copied first.
///
/// # Errors
/// [`Error::Shape`] as for [`read`].
pub fn write<'t, S: Shape>(
    operation: &'static str,
    tensor: &'t mut Tensor<S, f32, Cpu>,
) -> Result<&'t mut [f32], Error> {
    let len = read(operation, tensor)?.len();
    if len == 0 {
        return Ok(&mut []);
    }
    let mut index = tensor.shape().concrete();
    let axes = index.into_iter().count();
    (0..axes).for_each(|axis| index[axis] = 0);
    let first: *mut f32 = &mut tensor[index];
    // SAFETY: `read` found the elements contiguous, and indexing mutably made the buffer this
    // tensor's own; the exclusive borrow of the tensor lasts as long as the slice.
    Ok(unsafe { std::slice::from_raw_parts_mut(first, len) })
}

/// A tensor around `data`, without a copy. `data` must have the shape's number of elements.
///
/// # Errors
/// [`Error::Device`] if it has not.
pub fn tensor<S: Shape>(
    device: &Cpu,
    data: Vec<f32>,
    shape: S,
) -> Result<Tensor<S, f32, Cpu>, Error> {
    device
        .try_tensor_from_vec(data, shape)
        .map_err(Error::device)
}

/// Takes the gradient of an operation's output out of `gradient`: the operation is its only reader,
/// so backward can free it, or reuse it, right after. Hand it to [`give`] when it is read.
pub fn take_gradient(gradient: &mut GradientBuffer) -> Vec<f32> {
    std::mem::take(&mut **gradient)
}

/// Brings back what [`take_gradient`] took, after sums were added to it.
pub fn put_gradient(gradient: &mut GradientBuffer, values: Vec<f32>) {
    if gradient.is_empty() {
        **gradient = values;
    } else {
        // Another input of the operation is the same tensor, and its gradient came first.
        gradient.iter_mut().zip(values).for_each(|(g, v)| *g += v);
    }
}

/// Buffers below this many elements are left to the system's allocator.
const SMALL: usize = 4096;
/// A kept buffer that has not been asked for while this many others came back is freed.
const PATIENCE: u64 = 2048;

#[derive(Default)]
struct Store {
    /// By capacity; each with the time at which it came back.
    kept: BTreeMap<usize, Vec<(u64, Vec<f32>)>>,
    clock: u64,
}

static STORE: Mutex<Option<Store>> = Mutex::new(None);

/// A buffer of `len` numbers of any value, from the store if it has a fitting one.
pub fn take(len: usize) -> Vec<f32> {
    prepare_allocator();
    let mut data = if len < SMALL {
        Vec::new()
    } else {
        find(len).unwrap_or_default()
    };
    if data.capacity() < len {
        return fresh(len);
    }
    data.resize(len, 0.0);
    data
}

/// Memory from the allocator as it is. Evaluation takes one buffer a layer, and clearing each of
/// them, on one thread, took longer than the arithmetic.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn fresh(len: usize) -> Vec<f32> {
    let mut data: Vec<f32> = Vec::with_capacity(len);
    let start = data.as_mut_ptr();
    // SAFETY: the assembly has no instruction, but for all the compiler knows it writes to `start`:
    // from here on the memory counts as holding whatever bytes it holds, and any four bytes are an
    // f32. The capacity is at least `len`.
    unsafe {
        std::arch::asm!("/* {0} */", in(reg) start, options(nostack, preserves_flags));
        data.set_len(len);
    }
    data
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn fresh(len: usize) -> Vec<f32> {
    vec![0.0; len]
}

/// A buffer of `len` zeros, from the store if it has a fitting one.
pub fn take_zeros(len: usize) -> Vec<f32> {
    let mut data = take(len);
    data.fill(0.0);
    data
}

/// Brings a buffer back for reuse.
pub fn give(data: Vec<f32>) {
    if data.capacity() < SMALL {
        return;
    }
    let mut guard = STORE.lock().unwrap_or_else(|e| e.into_inner());
    let store = guard.get_or_insert_default();
    store.clock += 1;
    let now = store.clock;
    store
        .kept
        .entry(data.capacity())
        .or_default()
        .push((now, data));
    if now.is_multiple_of(PATIENCE / 8) {
        store.kept.retain(|_, list| {
            list.retain(|(when, _)| now - when < PATIENCE);
            !list.is_empty()
        });
    }
}

/// Frees all kept buffers, as one does between networks.
pub fn clear() {
    *STORE.lock().unwrap_or_else(|e| e.into_inner()) = None;
}

fn find(len: usize) -> Option<Vec<f32>> {
    let mut guard = STORE.lock().unwrap_or_else(|e| e.into_inner());
    let kept = &mut guard.as_mut()?.kept;
    let (&capacity, list) = kept.range_mut(len..=len + len / 8).next()?;
    let data = list.pop();
    if list.is_empty() {
        kept.remove(&capacity);
    }
    data.map(|(_, data)| data)
}

/// Asks the C library once to keep freed memory in the process, for all threads together. dfdx allocates
/// and frees a gradient for each activation in each step; by default the C library would map and unmap
/// these. To be called before there are threads: each has memory of its own by default.
pub(crate) fn prepare_allocator() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        // SAFETY: mallopt only sets parameters of the allocator, which it locks itself.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 1);
            libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
            libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 30);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use dfdx::prelude::*;

    #[test]
    fn reads_and_writes_in_place() {
        let device = Cpu::default();
        let mut t = tensor(
            &device,
            vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            (2usize, 3usize),
        )
        .unwrap();
        assert_eq!(read("test", &t).unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        write("test", &mut t).unwrap()[5] = 7.0;
        assert_eq!(t.as_vec(), [1.0, 2.0, 3.0, 4.0, 5.0, 7.0]);
    }

    #[test]
    fn writing_leaves_a_clone_alone() {
        let device = Cpu::default();
        let mut t = tensor(&device, vec![1.0, 2.0], (2usize,)).unwrap();
        let clone = t.clone();
        write("test", &mut t).unwrap()[0] = 9.0;
        assert_eq!(clone.as_vec(), [1.0, 2.0]);
    }

    #[test]
    fn refuses_views() {
        let device = Cpu::default();
        let t = tensor(&device, vec![0.0; 6], (2usize, 3usize)).unwrap();
        assert!(read("test", &t.permute::<_, Axes2<1, 0>>()).is_err());
    }

    #[test]
    fn reuses_what_came_back() {
        let data = vec![1.0f32; 5000];
        let address = data.as_ptr();
        give(data);
        let again = take(4999);
        assert_eq!((again.as_ptr(), again.len()), (address, 4999));
    }
}
