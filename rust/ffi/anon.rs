// SPDX-License-Identifier: GPL-2.0

//! Files without a name: descriptors that ioctls return.

use core::marker::PhantomData;

use kernel::{
    bindings,
    error::from_err_ptr,
    fs::{
        file::FileDescriptorReservation,
        File, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        poll::{
            PollCondVar,
            PollTable, //
        },
        Arc,
        ArcBorrow, //
    },
    types::ForeignOwnable,
    uaccess::{
        UserPtr,
        UserSlice,
        UserSliceReader,
        UserSliceWriter, //
    },
    ModuleMetadata,
};

use crate::LocalModule;

mod c {
    use kernel::ffi::{
        c_char,
        c_int,
        c_void, //
    };

    #[allow(
        improper_ctypes,
        reason = "the kernel's structures hold zero-sized lock keys"
    )]
    extern "C" {
        // Exported by the kernel, but not among the `kernel` crate's bindings.
        pub(super) fn anon_inode_getfile(
            name: *const c_char,
            fops: *const kernel::bindings::file_operations,
            private: *mut c_void,
            flags: c_int,
        ) -> *mut kernel::bindings::file;
    }
}

/// What poll() tells: bits of `<linux/poll.h>`.
pub(crate) mod ready {
    /// There is something to read.
    pub(crate) const IN: u32 = 0x0041;
    /// There is room to write.
    pub(crate) const OUT: u32 = 0x0104;
    /// Reading or writing would fail.
    pub(crate) const ERR: u32 = 0x0008;
    /// The device behind it is gone.
    pub(crate) const HUP: u32 = 0x0010;
}

/// What stands behind a file without a name.
pub(crate) trait AnonFile: Sized + Send + Sync + 'static {
    /// What /proc/PID/fd shows.
    const NAME: &'static CStr;

    /// read(): returns how many bytes were written to `out`; 0 is the end.
    fn read(_this: ArcBorrow<'_, Self>, _out: UserSliceWriter) -> Result<usize> {
        Err(EINVAL)
    }

    /// write(): returns how many bytes were taken.
    fn write(&self, _data: UserSliceReader) -> Result<usize> {
        Err(EINVAL)
    }

    /// The same by the address of the caller's buffer, for files that only pass it on.
    fn read_to(this: ArcBorrow<'_, Self>, to: usize, len: usize) -> Result<usize> {
        Self::read(this, UserSlice::new(UserPtr::from_addr(to), len).writer())
    }

    /// The same where the file has `O_NONBLOCK`: `EAGAIN` where it would wait.
    fn read_now(this: ArcBorrow<'_, Self>, to: usize, len: usize) -> Result<usize> {
        Self::read_to(this, to, len)
    }

    /// The same for write().
    fn write_from(&self, from: usize, len: usize) -> Result<usize> {
        self.write(UserSlice::new(UserPtr::from_addr(from), len).reader())
    }

    /// poll(): what can be done now.
    fn poll(&self) -> u32 {
        0
    }

    /// Who tells when that changes; `None`: nobody has to wait.
    fn changes(&self) -> Option<&PollCondVar> {
        None
    }

    /// ioctl().
    fn ioctl(&self, _cmd: u32, _arg: usize) -> Result<isize> {
        Err(ENOTTY)
    }

    /// The last descriptor was closed.
    fn release(&self) {}
}

/// Makes a descriptor for `file`; `flags` may have `O_CLOEXEC` and `O_NONBLOCK`.
///
/// If that fails, `file` is released like one that was closed.
pub(crate) fn open<T: AnonFile>(file: Arc<T>, flags: u32) -> Result<isize> {
    let fd =
        FileDescriptorReservation::get_unused_fd_flags(flags).inspect_err(|_| file.release())?;
    let opened = make(file, bindings::O_RDWR | (flags & bindings::O_NONBLOCK))?;
    let number = isize::try_from(fd.reserved_fd())?;
    fd.fd_install(opened);
    Ok(number)
}

/// Makes a file without a descriptor; `mode` is `O_RDONLY`, `O_WRONLY` or `O_RDWR`, and may have
/// `O_NONBLOCK`. If that fails, `file` is released like one that was closed.
pub(crate) fn make<T: AnonFile>(file: Arc<T>, mode: u32) -> Result<ARef<File>> {
    // CAST: Flags of open() are small and positive.
    let mode = mode as c_int;
    let data = file.into_foreign();
    // SAFETY: Name and operations are static; `data` is what the operations expect.
    let opened =
        unsafe { c::anon_inode_getfile(T::NAME.as_char_ptr(), Table::<T>::ops(), data, mode) };
    let raw = from_err_ptr(opened).inspect_err(|_| {
        // SAFETY: There is no file that could own it.
        unsafe { Arc::<T>::from_foreign(data) }.release();
    })?;
    // A page of a stream has no place in a file: neither lseek nor pread.
    // SAFETY: The file is ours alone until it is installed.
    unsafe { bindings::stream_open(core::ptr::null_mut(), raw) };
    let raw = core::ptr::NonNull::new(raw).ok_or(EINVAL)?;
    // SAFETY: The reference is ours and passes to `ARef`; nobody has its position locked.
    Ok(unsafe { ARef::from_raw(raw.cast::<File>()) })
}

/// The operations of files with a `T` behind them.
struct Table<T: AnonFile>(PhantomData<T>);

impl<T: AnonFile> Table<T> {
    const OPS: bindings::file_operations = bindings::file_operations {
        owner: <LocalModule as ModuleMetadata>::THIS_MODULE.as_ptr(),
        read: Some(Self::read),
        write: Some(Self::write),
        poll: Some(Self::poll),
        unlocked_ioctl: Some(Self::ioctl),
        compat_ioctl: bindings::compat_ptr_ioctl,
        release: Some(Self::release),
        ..pin_init::zeroed()
    };

    const fn ops() -> &'static bindings::file_operations {
        const { &Self::OPS }
    }

    /// # Safety
    ///
    /// `file` must be a file made by [`open`] for this type, which is not released before `'a` ends.
    unsafe fn of<'a>(file: *mut bindings::file) -> &'a T {
        // SAFETY: The private data is an `Arc<T>` that the file owns.
        let data = unsafe { Self::borrow(file) };
        // SAFETY: As above: it lives as long as the file.
        unsafe { &*core::ptr::from_ref(&*data) }
    }

    /// # Safety
    ///
    /// As for [`Self::of`].
    unsafe fn borrow<'a>(file: *mut bindings::file) -> ArcBorrow<'a, T> {
        // SAFETY: The private data is an `Arc<T>` that the file owns.
        unsafe { Arc::<T>::borrow((*file).private_data) }
    }

    /// # Safety
    ///
    /// Only for the VFS, as an operation of files made by [`open`] for this type.
    unsafe extern "C" fn read(
        file: *mut bindings::file,
        buf: *mut c_char,
        len: usize,
        _: *mut bindings::loff_t,
    ) -> isize {
        // SAFETY: The VFS calls this for files with this table, and holds them.
        let this = unsafe { Self::borrow(file) };
        // SAFETY: As above; flags may change at any time, and are one word.
        let flags = unsafe { core::ptr::addr_of!((*file).f_flags).read_volatile() };
        count(match flags & bindings::O_NONBLOCK {
            0 => T::read_to(this, buf.addr(), len),
            _ => T::read_now(this, buf.addr(), len),
        })
    }

    /// # Safety
    ///
    /// Only for the VFS, as an operation of files made by [`open`] for this type.
    unsafe extern "C" fn write(
        file: *mut bindings::file,
        buf: *const c_char,
        len: usize,
        _: *mut bindings::loff_t,
    ) -> isize {
        // SAFETY: As above.
        let this = unsafe { Self::of(file) };
        count(this.write_from(buf.addr(), len))
    }

    /// # Safety
    ///
    /// Only for the VFS, as an operation of files made by [`open`] for this type.
    unsafe extern "C" fn poll(
        file: *mut bindings::file,
        table: *mut bindings::poll_table_struct,
    ) -> bindings::__poll_t {
        // SAFETY: As above.
        let this = unsafe { Self::of(file) };
        if let Some(changes) = this.changes() {
            // SAFETY: The VFS gives a table that lives as long as this call, or none.
            let table = unsafe { PollTable::from_raw(table) };
            // SAFETY: The VFS holds the file, and its position is not used.
            table.register_wait(unsafe { File::from_raw_file(file) }, changes);
        }
        this.poll()
    }

    /// # Safety
    ///
    /// Only for the VFS, as an operation of files made by [`open`] for this type.
    unsafe extern "C" fn ioctl(file: *mut bindings::file, cmd: c_uint, arg: c_ulong) -> c_long {
        // SAFETY: As above.
        let this = unsafe { Self::of(file) };
        count(this.ioctl(cmd, arg).map(isize::unsigned_abs))
    }

    /// # Safety
    ///
    /// Only for the VFS, as an operation of files made by [`open`] for this type.
    unsafe extern "C" fn release(_: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: The VFS calls this once, last.
        let owned = unsafe { Arc::<T>::from_foreign((*file).private_data) };
        owned.release();
        0
    }
}

/// A count or a negative errno.
fn count(result: Result<usize>) -> isize {
    match result {
        Ok(n) => isize::try_from(n).unwrap_or(isize::MAX),
        // CAST: Errno fits.
        Err(e) => e.to_errno() as isize,
    }
}
