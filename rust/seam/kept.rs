// SPDX-License-Identifier: GPL-2.0

//! Records that a PF's driver has left for its next life, under the PF's address. What they say is
//! no business of ours; while there is one, this module stays.

use kernel::{
    prelude::*,
    sync::global_lock, //
};

use crate::{
    abi::Address,
    exports::pin_module, //
};

/// Most words of a record.
const WORDS_MAX: usize = 64 << 10;

struct Kept {
    address: Address,
    /// The registration that has left it.
    serial: u64,
    words: KVVec<u64>,
}

global_lock! {
    // SAFETY: Initialised by the module's `init`, before anybody can call what it exports.
    unsafe(uninit) static KEPT: Mutex<KVec<Kept>> = KVec::new();
}

/// Prepares the list; to be called once, first.
pub(crate) fn init() {
    // SAFETY: Called once, from the module's `init`, before anything uses it.
    unsafe { KEPT.init() };
}

/// Frees the list, which is empty: a record keeps the module.
pub(crate) fn exit() {
    *KEPT.lock() = KVec::new();
}

/// Keeps a record; that of the same registration is replaced. `EEXIST` if there is another for that
/// PF, `E2BIG` if it is too long.
pub(crate) fn keep(address: Address, serial: u64, words: &[u64]) -> Result {
    if words.len() > WORDS_MAX {
        return Err(E2BIG);
    }
    let mut copy = KVVec::with_capacity(words.len(), GFP_KERNEL)?;
    copy.extend_from_slice(words, GFP_KERNEL)?;
    let mut list = KEPT.lock();
    if let Some(kept) = list.iter_mut().find(|kept| kept.address == address) {
        if kept.serial != serial {
            return Err(EEXIST);
        }
        kept.words = copy;
        return Ok(());
    }
    let kept = Kept {
        address,
        serial,
        words: copy,
    };
    list.push(kept, GFP_KERNEL)?;
    pin_module(true);
    Ok(())
}

/// Copies the record of a PF to `to`; returns its words. `ENOENT`: there is none; `ENOSPC`: `to` is
/// too short.
pub(crate) fn copy(address: Address, to: &mut [u64]) -> Result<usize> {
    let list = KEPT.lock();
    let kept = list.iter().find(|kept| kept.address == address);
    let words = &kept.ok_or(ENOENT)?.words;
    let room = to.get_mut(..words.len()).ok_or(ENOSPC)?;
    room.copy_from_slice(words);
    Ok(words.len())
}

/// The registration that has left a record for this PF.
pub(crate) fn serial(address: Address) -> Option<u64> {
    let list = KEPT.lock();
    let kept = list.iter().find(|kept| kept.address == address);
    kept.map(|kept| kept.serial)
}

/// Drops the record of a PF, if there is one.
pub(crate) fn forget(address: Address) {
    let mut list = KEPT.lock();
    let at = list.iter().position(|kept| kept.address == address);
    let kept = at.and_then(|i| list.remove(i).ok());
    drop(list);
    if kept.is_some() {
        pin_module(false);
    }
}
