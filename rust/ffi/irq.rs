// SPDX-License-Identifier: GPL-2.0

//! One interrupt vector of the PF together with its handler.

use kernel::{
    irq::{
        self,
        Flags, //
    },
    pci::{
        IrqType,
        IrqTypes,
        IrqVectorRegistration, //
    },
    prelude::*, //
};

use super::pci::BoundPf;

/// An MSI vector whose handler is registered for as long as this exists.
///
/// Fields are dropped in this order: the handler before the vector it is for.
#[pin_data]
pub(crate) struct Msi<T: irq::Handler + 'static> {
    #[pin]
    handler: irq::Registration<'static, T>,
    vectors: KBox<IrqVectorRegistration<'static>>,
}

impl<T: irq::Handler + 'static> Msi<T> {
    /// Allocates the vector and registers `handler`, which may be called from then on.
    pub(crate) fn new(
        pf: &BoundPf,
        name: &'static CStr,
        handler: T,
    ) -> Result<impl PinInit<Self, Error>> {
        let types = IrqTypes::default().with(IrqType::Msi);
        let vectors = KBox::new(pf.get().alloc_irq_vectors(1, 1, types)?, GFP_KERNEL)?;
        // SAFETY: The box is kept next to the handler, which goes first, so the vector is there
        // for as long as the request that is made of it.
        let vector = unsafe { &*core::ptr::from_ref(&*vectors) }.index(0)?;
        // SAFETY: The registration is a field of a pinned structure and so dropped with it.
        let handler = unsafe {
            irq::Registration::new(vector.into(), Flags::TRIGGER_NONE, name, Ok(handler))
        };
        Ok(try_pin_init!(Self { handler <- handler, vectors }))
    }
}
