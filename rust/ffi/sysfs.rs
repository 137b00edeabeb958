// SPDX-License-Identifier: GPL-2.0

//! Directories in sysfs whose files are methods of a Rust type.

use core::{
    fmt::{
        self,
        Write as _, //
    },
    marker::PhantomData,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    error::to_result,
    page::PAGE_SIZE,
    prelude::*,
    types::Opaque, //
};

use super::pci::{
    BoundPf,
    VfDevice, //
};

/// Writes the value of a file, a newline at the end.
pub(crate) type Show<T> = fn(&T, &mut Page<'_>) -> Result;

/// Takes a new value; the text has no white space around it.
pub(crate) type Store<T> = fn(&T, &str) -> Result;

/// A file of a [`Dir`]: its name and what is called when it is read and written.
#[repr(C)]
pub(crate) struct Attr<T> {
    attr: bindings::attribute,
    show: Option<Show<T>>,
    store: Option<Store<T>>,
}

// SAFETY: Only read; the name points to a string constant.
unsafe impl<T> Sync for Attr<T> {}

impl<T> Attr<T> {
    /// A file that everybody can read.
    pub(crate) const fn ro(name: &'static CStr, show: Show<T>) -> Self {
        Self::new(name, 0o444, Some(show), None)
    }

    /// A file that everybody can read and root can write.
    pub(crate) const fn rw(name: &'static CStr, show: Show<T>, store: Store<T>) -> Self {
        Self::new(name, 0o644, Some(show), Some(store))
    }

    #[allow(clippy::needless_update, reason = "with lockdep there are more fields")]
    const fn new(
        name: &'static CStr,
        mode: u16,
        show: Option<Show<T>>,
        store: Option<Store<T>>,
    ) -> Self {
        Self {
            attr: bindings::attribute {
                name: kernel::str::as_char_ptr_in_const_context(name),
                mode,
                ..pin_init::zeroed()
            },
            show,
            store,
        }
    }
}

/// What a directory holds.
pub(crate) trait DirType: Sized + Send + Sync + 'static {
    /// The files.
    const ATTRS: &'static [Attr<Self>];
}

/// The one page that a file of sysfs can show.
pub(crate) struct Page<'a> {
    buf: &'a mut [u8; PAGE_SIZE],
    len: usize,
}

impl Page<'_> {
    /// Writes a line; `ENOSPC` once the page is full.
    pub(crate) fn line(&mut self, line: impl fmt::Display) -> Result {
        writeln!(self, "{line}").map_err(|_| ENOSPC)
    }
}

impl fmt::Write for Page<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let end = self.len.checked_add(s.len()).ok_or(fmt::Error)?;
        let room = self.buf.get_mut(self.len..end).ok_or(fmt::Error)?;
        room.copy_from_slice(s.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// What sysfs holds on to: it may live on after the [`Dir`] while a file is still open.
#[repr(C)]
struct Node<T> {
    kobj: Opaque<bindings::kobject>,
    data: *const T,
}

/// A directory in sysfs; it goes, with its files, when this is dropped.
///
/// # Invariants
///
/// `node` has been added to sysfs, and `node.data` points to `data`, which no file method uses any
/// more once the kobject has been deleted.
pub(crate) struct Dir<T: DirType> {
    node: NonNull<Node<T>>,
    _data: KBox<T>,
}

// SAFETY: kobjects may be deleted from any thread; `T` is `Send` and `Sync`.
unsafe impl<T: DirType> Send for Dir<T> {}
// SAFETY: As above; `&Dir` only makes links and further directories.
unsafe impl<T: DirType> Sync for Dir<T> {}

impl<T: DirType> Dir<T> {
    /// Makes a directory below the PF's.
    pub(crate) fn below_pf(pf: &BoundPf, name: &CStr, data: T) -> Result<Self> {
        Self::new(super::pci::kobj(pf), name, data)
    }

    /// Makes a directory below this one.
    pub(crate) fn subdir<U: DirType>(&self, name: &CStr, data: U) -> Result<Dir<U>> {
        Dir::new(self.kobj(), name, data)
    }

    /// Makes the symbolic link `name` to a VF's directory.
    pub(crate) fn link_vf(&self, name: &CStr, vf: &VfDevice) -> Result {
        // SAFETY: Both kobjects are in sysfs.
        to_result(unsafe {
            bindings::sysfs_create_link(self.kobj(), vf.kobj(), name.as_char_ptr())
        })
    }

    fn kobj(&self) -> *mut bindings::kobject {
        // SAFETY: `node` is valid by the invariant; only an address is computed.
        unsafe { Opaque::cast_into(&raw const (*self.node.as_ptr()).kobj) }
    }

    fn new(parent: *mut bindings::kobject, name: &CStr, data: T) -> Result<Self> {
        let data = KBox::new(data, GFP_KERNEL)?;
        let node = KBox::new(
            Node::<T> {
                kobj: Opaque::zeroed(),
                data: &raw const *data,
            },
            GFP_KERNEL,
        )?;
        let node = NonNull::from(KBox::leak(node));
        // SAFETY: `node` is valid and zeroed; from here on its reference count owns it.
        let kobj: *mut bindings::kobject =
            unsafe { Opaque::cast_into(&raw const (*node.as_ptr()).kobj) };
        // SAFETY: `kobj` is zeroed, the type is static, the parent is in sysfs; the format takes
        // one string, which is given.
        let added = to_result(unsafe {
            bindings::kobject_init_and_add(
                kobj,
                &raw const Type::<T>::KTYPE.0,
                parent,
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        });
        // INVARIANT: Added, or (on error) only to be put.
        let dir = Self { node, _data: data };
        added?;
        for attr in T::ATTRS {
            // SAFETY: `kobj` is in sysfs, the attribute is static.
            to_result(unsafe {
                bindings::sysfs_create_file_ns(kobj, &attr.attr, core::ptr::null())
            })?;
        }
        Ok(dir)
    }
}

impl<T: DirType> Drop for Dir<T> {
    fn drop(&mut self) {
        // SAFETY: The kobject was initialised in `new`. Deleting it waits for running file
        // methods, after which nobody uses `data`; the node itself goes with its last reference.
        unsafe {
            bindings::kobject_del(self.kobj());
            bindings::kobject_put(self.kobj());
        }
    }
}

/// The kernel's view of a directory type.
struct Type<T>(PhantomData<T>);

/// A table that is only read.
struct Table<T>(T);
// SAFETY: Only read.
unsafe impl<T> Sync for Table<T> {}

impl<T: DirType> Type<T> {
    const OPS: &'static Table<bindings::sysfs_ops> = &Table(bindings::sysfs_ops {
        show: Some(Self::show),
        store: Some(Self::store),
    });

    const KTYPE: &'static Table<bindings::kobj_type> = &Table(bindings::kobj_type {
        release: Some(Self::release),
        sysfs_ops: &raw const Self::OPS.0,
        ..pin_init::zeroed()
    });

    /// # Safety
    ///
    /// `kobj` must be that of a [`Node<T>`] that is in sysfs, and `attr` one of `T::ATTRS`.
    unsafe fn resolve<'a>(
        kobj: *mut bindings::kobject,
        attr: *mut bindings::attribute,
    ) -> (&'a T, &'a Attr<T>) {
        // SAFETY: By the contract; both are the first fields of `repr(C)` structures. `data` is
        // valid while file methods run, by the invariant of `Dir`.
        unsafe { (&*(*kobj.cast::<Node<T>>()).data, &*attr.cast::<Attr<T>>()) }
    }

    /// # Safety
    ///
    /// As for [`Self::resolve`]; `buf` must be a page.
    unsafe extern "C" fn show(
        kobj: *mut bindings::kobject,
        attr: *mut bindings::attribute,
        buf: *mut c_char,
    ) -> isize {
        // SAFETY: sysfs calls this for the nodes and attributes that `Dir::new` added.
        let (data, attr) = unsafe { Self::resolve(kobj, attr) };
        // SAFETY: sysfs passes a page that is ours for the call.
        let buf = unsafe { &mut *buf.cast::<[u8; PAGE_SIZE]>() };
        let mut page = Page { buf, len: 0 };
        match attr.show.map_or(Err(EIO), |show| show(data, &mut page)) {
            // CAST: At most `PAGE_SIZE`.
            Ok(()) => page.len as isize,
            Err(e) => e.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// As for [`Self::resolve`]; `buf` must hold `len` bytes.
    unsafe extern "C" fn store(
        kobj: *mut bindings::kobject,
        attr: *mut bindings::attribute,
        buf: *const c_char,
        len: usize,
    ) -> isize {
        // SAFETY: As for `show`.
        let (data, attr) = unsafe { Self::resolve(kobj, attr) };
        // SAFETY: sysfs passes `len` bytes that stay for the call.
        let bytes = unsafe { core::slice::from_raw_parts(buf.cast::<u8>(), len) };
        let text = core::str::from_utf8(bytes).map_err(|_| EINVAL);
        let store = attr.store.ok_or(EACCES);
        let stored = text.and_then(|text| store?(data, text.trim()));
        match stored {
            // CAST: sysfs writes at most a page.
            Ok(()) => len as isize,
            Err(e) => e.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// `kobj` must be that of a node that [`Dir::new`] made, with no reference left.
    unsafe extern "C" fn release(kobj: *mut bindings::kobject) {
        // SAFETY: `Dir::new` leaked this box; the last reference is gone.
        drop(unsafe { KBox::from_raw(kobj.cast::<Node<T>>()) });
    }
}
