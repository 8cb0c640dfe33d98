//! One vector register, for kernels that are written once and compiled for each instruction set.
//!
//! A kernel implements [`Kernel`] with a body that is generic over [`Vector`]; [`dispatch`] runs the
//! copy for the widest instructions that the processor has. Unlike in [`crate::simd`], products and
//! sums are fused where the processor can, so instruction sets may differ in the last bit; the
//! number of threads never makes a difference.

use crate::simd::{Level, level};

/// A register of f32 lanes.
///
/// # Safety
/// All functions need a processor with the instructions that the type stands for, which
/// [`dispatch`] has made sure of; those that take pointers need valid memory there.
pub(crate) trait Vector: Copy {
    /// Numbers in a register.
    const LANES: usize;
    /// Rows of a register tile of two registers a row that the register file holds.
    const ROWS: usize;

    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    /// The first `count` lanes from memory, zeros in the others. `count` may be 0.
    unsafe fn load_first(from: *const f32, count: usize) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// Stores the first `count` lanes only.
    unsafe fn store_first(self, to: *mut f32, count: usize);
    /// `self * factor + addend`
    unsafe fn fma(self, factor: Self, addend: Self) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn max(self, other: Self) -> Self;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: as promised by the caller.
        unsafe { Self::splat(0.0) }
    }
}

/// A kernel whose body is compiled for each instruction set.
pub(crate) trait Kernel {
    /// What it answers.
    type Output;

    /// The body; mark it `#[inline(always)]`.
    ///
    /// # Safety
    /// The processor must have the instructions that `V` stands for.
    unsafe fn run<V: Vector>(self) -> Self::Output;
}

/// Runs the copy of `kernel` for the widest vectors of this processor.
#[inline]
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{__m256, __m512};

        #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
        fn avx512<K: Kernel>(kernel: K) -> K::Output {
            // SAFETY: this function is only called where these features are.
            unsafe { kernel.run::<__m512>() }
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2<K: Kernel>(kernel: K) -> K::Output {
            // SAFETY: this function is only called where these features are.
            unsafe { kernel.run::<__m256>() }
        }
        match level() {
            // SAFETY: `level` has just found these features on this processor.
            Level::Avx512 => return unsafe { avx512(kernel) },
            // SAFETY: `level` has just found these features on this processor.
            Level::Avx2 => return unsafe { avx2(kernel) },
            Level::Portable => {}
        }
    }
    // SAFETY: arrays need no particular processor.
    unsafe { kernel.run::<[f32; 8]>() }
}

/// The lanes of the vectors that [`dispatch`] uses, for layouts that are prepared for them.
pub(crate) fn lanes() -> usize {
    match level() {
        Level::Avx512 => 16,
        Level::Avx2 | Level::Portable => 8,
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Vector;
    use std::arch::x86_64::*;

    // SAFETY of the blocks below: the trait's callers promise the processor and the pointers.
    impl Vector for __m512 {
        const LANES: usize = 16;
        const ROWS: usize = 8;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: see above.
            unsafe { _mm512_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: see above.
            unsafe { _mm512_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> Self {
            // SAFETY: see above; masked lanes are not read.
            unsafe { _mm512_maskz_loadu_ps(first16(count), from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: see above.
            unsafe { _mm512_storeu_ps(to, self) }
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, count: usize) {
            // SAFETY: see above; masked lanes are not written.
            unsafe { _mm512_mask_storeu_ps(to, first16(count), self) }
        }
        #[inline(always)]
        unsafe fn fma(self, factor: Self, addend: Self) -> Self {
            // SAFETY: see above.
            unsafe { _mm512_fmadd_ps(self, factor, addend) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: see above.
            unsafe { _mm512_add_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            // SAFETY: see above.
            unsafe { _mm512_sub_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            // SAFETY: see above.
            unsafe { _mm512_max_ps(self, other) }
        }
    }

    #[inline(always)]
    fn first16(count: usize) -> __mmask16 {
        if count >= 16 { !0 } else { (1u16 << count) - 1 }
    }

    // SAFETY of the blocks below: the trait's callers promise the processor and the pointers.
    impl Vector for __m256 {
        const LANES: usize = 8;
        const ROWS: usize = 6;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: see above.
            unsafe { _mm256_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: see above.
            unsafe { _mm256_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> Self {
            // SAFETY: see above; masked lanes are not read.
            unsafe { _mm256_maskload_ps(from, first8(count)) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: see above.
            unsafe { _mm256_storeu_ps(to, self) }
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, count: usize) {
            // SAFETY: see above; masked lanes are not written.
            unsafe { _mm256_maskstore_ps(to, first8(count), self) }
        }
        #[inline(always)]
        unsafe fn fma(self, factor: Self, addend: Self) -> Self {
            // SAFETY: see above.
            unsafe { _mm256_fmadd_ps(self, factor, addend) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: see above.
            unsafe { _mm256_add_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            // SAFETY: see above.
            unsafe { _mm256_sub_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            // SAFETY: see above.
            unsafe { _mm256_max_ps(self, other) }
        }
    }

    #[inline(always)]
    unsafe fn first8(count: usize) -> __m256i {
        // SAFETY: the callers promise AVX2.
        unsafe {
            let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            _mm256_cmpgt_epi32(_mm256_set1_epi32(count.min(8) as i32), lane)
        }
    }
}

impl Vector for [f32; 8] {
    const LANES: usize = 8;
    const ROWS: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        [value; 8]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller promises eight numbers there; arrays of f32 have its alignment.
        unsafe { from.cast::<[f32; 8]>().read() }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        // SAFETY: the caller promises `count` numbers there, and only those are read.
        std::array::from_fn(|i| {
            if i < count {
                unsafe { *from.add(i) }
            } else {
                0.0
            }
        })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller promises room for eight numbers.
        unsafe { to.cast::<[f32; 8]>().write(self) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        for (i, v) in self.into_iter().enumerate().take(count) {
            // SAFETY: the caller promises room for `count` numbers.
            unsafe { to.add(i).write(v) }
        }
    }
    #[inline(always)]
    unsafe fn fma(self, factor: Self, addend: Self) -> Self {
        // Without the instruction, `mul_add` would call the C library for each lane.
        std::array::from_fn(|i| {
            if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
                self[i].mul_add(factor[i], addend[i])
            } else {
                self[i] * factor[i] + addend[i]
            }
        })
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i] + other[i])
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i] - other[i])
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        std::array::from_fn(|i| {
            if self[i] > other[i] {
                self[i]
            } else {
                other[i]
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Check;

    impl Kernel for Check {
        type Output = ();

        #[inline(always)]
        unsafe fn run<V: Vector>(self) {
            check::<V>();
        }
    }

    fn check<V: Vector>() {
        let data: Vec<f32> = (0..16).map(|i| i as f32 - 3.0).collect();
        for count in 0..=V::LANES {
            let mut out = [9.0f32; 16];
            // SAFETY: `dispatch` chose `V` for this processor; both arrays hold a register.
            unsafe {
                let v = V::load_first(data.as_ptr(), count);
                v.max(V::zero())
                    .fma(V::splat(2.0), V::splat(1.0))
                    .store_first(out.as_mut_ptr(), count);
            }
            for i in 0..16 {
                let expected = if i < count {
                    data[i].max(0.0) * 2.0 + 1.0
                } else {
                    9.0
                };
                assert_eq!(out[i], expected);
            }
        }
    }

    #[test]
    fn lanes_beyond_the_count_are_left_alone() {
        dispatch(Check);
        check::<[f32; 8]>();
    }
}
