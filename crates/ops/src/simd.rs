//! Run-time choice of the vector instructions: one loop, compiled for several instruction sets.
//!
//! The loops are plain Rust that the compiler vectorises. Rust neither reorders floating-point
//! sums nor contracts a product and a sum, so every copy computes the same bits.

/// The widest instruction set that this processor offers and the loops are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// What the target guarantees.
    Portable,
    /// AVX2 with fused multiply-add.
    Avx2,
    /// AVX-512 F, VL, BW and DQ.
    Avx512,
}

/// The level of this processor. The standard library caches the answer.
#[inline]
pub(crate) fn level() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512vl")
            && std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx512dq")
        {
            return Level::Avx512;
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
        {
            return Level::Avx2;
        }
    }
    Level::Portable
}

/// Defines a function whose body is compiled for each [`Level`] and chosen at run time.
///
/// Generic parameters are limited to constants, so that the copies need no bounds.
macro_rules! vectorised {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident $(<$(const $constant:ident: $kind:ty),+>)? (
            $($argument:ident: $type:ty),* $(,)?
        ) $body:block
    ) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name $(<$(const $constant: $kind),+>)? ($($argument: $type),*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body $(<$(const $constant: $kind),+>)? ($($argument: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx512 $(<$(const $constant: $kind),+>)? ($($argument: $type),*) {
                    body $(::<$($constant),+>)? ($($argument),*)
                }
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx2 $(<$(const $constant: $kind),+>)? ($($argument: $type),*) {
                    body $(::<$($constant),+>)? ($($argument),*)
                }
                match $crate::simd::level() {
                    $crate::simd::Level::Avx512 => {
                        // SAFETY: `level` has just found these features on this processor.
                        unsafe { return avx512 $(::<$($constant),+>)? ($($argument),*) }
                    }
                    $crate::simd::Level::Avx2 => {
                        // SAFETY: `level` has just found these features on this processor.
                        unsafe { return avx2 $(::<$($constant),+>)? ($($argument),*) }
                    }
                    $crate::simd::Level::Portable => {}
                }
            }
            body $(::<$($constant),+>)? ($($argument),*)
        }
    };
}
pub(crate) use vectorised;
