// SPDX-License-Identifier: GPL-2.0

//! For KUnit: assertions that fail the case and not the kernel, and of `std`'s prelude what tests
//! use, on top of the kernel's own containers.
//!
//! Only for tests: where memory is short, they panic.

use core::{
    fmt,
    ops::{
        Deref,
        DerefMut,
        RangeFull, //
    },
};
use kernel::prelude::*;

/// What is said when a test finds no memory.
const SHORT: &str = "no memory for the test";

/// Ends the case that is running as failed.
#[track_caller]
pub(crate) fn fail(why: fmt::Arguments<'_>) -> ! {
    let at = core::panic::Location::caller();
    kernel::kunit::err(format_args!("    # {}:{}: {why}\n", at.file(), at.line()));
    kernel::kunit_assert!("core", c"rust/core", 0, false);
    unreachable!("KUnit has ended the thread");
}

macro_rules! assert {
    ($holds:expr $(,)?) => {
        if !$holds {
            $crate::gim_core::testing::fail(format_args!("{} is false", stringify!($holds)));
        }
    };
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            $crate::gim_core::testing::fail(format_args!(
                "{} is false: {}",
                stringify!($holds),
                format_args!($($why)+)
            ));
        }
    };
}

macro_rules! assert_eq {
    ($got:expr, $want:expr $(,)?) => {
        assert_eq!($got, $want, "not equal")
    };
    ($got:expr, $want:expr, $($why:tt)+) => {
        match (&$got, &$want) {
            (got, want) => {
                if !(*got == *want) {
                    $crate::gim_core::testing::fail(format_args!(
                        "{}: {got:?}, not {want:?}",
                        format_args!($($why)+)
                    ));
                }
            }
        }
    };
}

macro_rules! assert_ne {
    ($got:expr, $other:expr $(,)?) => {
        assert_ne!($got, $other, "equal")
    };
    ($got:expr, $other:expr, $($why:tt)+) => {
        match (&$got, &$other) {
            (got, other) => {
                if *got == *other {
                    $crate::gim_core::testing::fail(format_args!(
                        "{}: {got:?}",
                        format_args!($($why)+)
                    ));
                }
            }
        }
    };
}

macro_rules! vec {
    () => {
        $crate::gim_core::testing::Vec::new()
    };
    ($value:expr; $count:expr) => {
        $crate::gim_core::testing::Vec::filled($value, $count)
    };
    ($($value:expr),+ $(,)?) => {
        [$($value),+].into_iter().collect::<$crate::gim_core::testing::Vec<_>>()
    };
}

macro_rules! format {
    ($($what:tt)+) => {
        $crate::gim_core::testing::ToString::to_string(&format_args!($($what)+))
    };
}

/// A vector, as `std` has it.
#[derive(Default)]
pub(crate) struct Vec<T>(KVVec<T>);

impl<T> Vec<T> {
    pub(crate) const fn new() -> Self {
        Self(KVVec::new())
    }

    pub(crate) fn filled(value: T, count: usize) -> Self
    where
        T: Clone,
    {
        Self(KVVec::from_elem(value, count, GFP_KERNEL).expect(SHORT))
    }

    pub(crate) fn push(&mut self, value: T) {
        self.0.push(value, GFP_KERNEL).expect(SHORT);
    }

    pub(crate) fn remove(&mut self, at: usize) -> T {
        self.0.remove(at).expect("an index within the vector")
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn drain(&mut self, _all: RangeFull) -> impl Iterator<Item = T> + '_ {
        self.0.drain_all()
    }

    pub(crate) fn extend_from_slice(&mut self, more: &[T])
    where
        T: Clone,
    {
        self.0.extend_from_slice(more, GFP_KERNEL).expect(SHORT);
    }
}

impl<T> Deref for Vec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for Vec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T: Clone> Clone for Vec<T> {
    fn clone(&self) -> Self {
        self.to_vec()
    }
}

impl<T: fmt::Debug> fmt::Debug for Vec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: PartialEq<U>, U> PartialEq<Vec<U>> for Vec<T> {
    fn eq(&self, other: &Vec<U>) -> bool {
        self[..] == other[..]
    }
}

impl<T: PartialEq<U>, U, const N: usize> PartialEq<[U; N]> for Vec<T> {
    fn eq(&self, other: &[U; N]) -> bool {
        self[..] == other[..]
    }
}

impl<T: PartialEq<U>, U> PartialEq<Vec<U>> for [T] {
    fn eq(&self, other: &Vec<U>) -> bool {
        *self == other[..]
    }
}

impl<T> Extend<T> for Vec<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, more: I) {
        more.into_iter().for_each(|value| self.push(value));
    }
}

impl<'a, T: Copy + 'a> Extend<&'a T> for Vec<T> {
    fn extend<I: IntoIterator<Item = &'a T>>(&mut self, more: I) {
        self.extend(more.into_iter().copied());
    }
}

impl<T> FromIterator<T> for Vec<T> {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        let mut list = Self::new();
        list.extend(all);
        list
    }
}

impl<T> IntoIterator for Vec<T> {
    type Item = T;
    type IntoIter = <KVVec<T> as IntoIterator>::IntoIter;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a Vec<T> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// `to_vec` of slices.
pub(crate) trait ToVec<T> {
    fn to_vec(&self) -> Vec<T>;
}

impl<T: Clone> ToVec<T> for [T] {
    fn to_vec(&self) -> Vec<T> {
        self.iter().cloned().collect()
    }
}

/// A string, as `std` has it.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct String(Vec<u8>);

impl String {
    fn push_str(&mut self, more: &str) {
        self.0.extend_from_slice(more.as_bytes());
    }
}

impl fmt::Write for String {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        self.push_str(more);
        Ok(())
    }
}

impl Deref for String {
    type Target = str;

    fn deref(&self) -> &str {
        core::str::from_utf8(&self.0).expect("made of strings")
    }
}

impl fmt::Debug for String {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for String {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl PartialEq<str> for String {
    fn eq(&self, other: &str) -> bool {
        **self == *other
    }
}

impl PartialEq<&str> for String {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

impl FromIterator<char> for String {
    fn from_iter<I: IntoIterator<Item = char>>(all: I) -> Self {
        let mut text = Self::default();
        for letter in all {
            text.push_str(letter.encode_utf8(&mut [0; 4]));
        }
        text
    }
}

impl<'a> FromIterator<&'a char> for String {
    fn from_iter<I: IntoIterator<Item = &'a char>>(all: I) -> Self {
        all.into_iter().copied().collect()
    }
}

/// `to_string` of whatever can be shown.
pub(crate) trait ToString {
    fn to_string(&self) -> String;
}

impl<T: fmt::Display + ?Sized> ToString for T {
    fn to_string(&self) -> String {
        let mut text = String::default();
        fmt::Write::write_fmt(&mut text, format_args!("{self}")).expect(SHORT);
        text
    }
}

/// `join` of lists of strings.
pub(crate) trait Join {
    fn join(&self, between: &str) -> String;
}

impl<S: Deref<Target = str>> Join for [S] {
    fn join(&self, between: &str) -> String {
        let mut all = String::default();
        for (at, text) in self.iter().enumerate() {
            if at != 0 {
                all.push_str(between);
            }
            all.push_str(text);
        }
        all
    }
}

/// A value on the heap, as `std` has it.
pub(crate) struct Box<T>(KBox<T>);

impl<T> Box<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(KBox::new(value, GFP_KERNEL).expect(SHORT))
    }
}

impl<T> Deref for Box<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Box<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
