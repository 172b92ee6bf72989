//! Memory on the stack, made zero in words.
//!
//! However the zeroing of a value is written, LLVM makes a call of `memset` of it, and for this
//! target that is a loop over single bytes: it took a third of the time of every program that looks
//! at packets. A volatile store stays what it is.

use core::mem::MaybeUninit;

/// Makes a value of zeros in `place`.
///
/// # Safety
///
/// All zeros has to be a valid value of `T`.
#[inline(always)]
pub(super) unsafe fn zeroed<T>(place: &mut MaybeUninit<T>) -> &mut T {
    const { assert!(align_of::<T>() >= 4) };
    let words = place.as_mut_ptr().cast::<u32>();
    for index in 0..size_of::<T>() / 4 {
        // SAFETY: inside of the value, and aligned like it: its size is a multiple of its
        // alignment, and so of four.
        unsafe { words.add(index).write_volatile(0) };
    }
    // SAFETY: every byte was just written, with what the caller says is valid.
    unsafe { place.assume_init_mut() }
}
