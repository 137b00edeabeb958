// SPDX-License-Identifier: GPL-2.0

//! One interrupt vector of the PF together with its handler.

use kernel::{
    interrupt::LocalInterruptDisabled,
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

/// What is called when the interrupt comes, in hard interrupt context.
pub(crate) trait MsiHandler: Send + Sync + 'static {
    /// Handles the interrupt; whether there was anything to handle.
    fn interrupt(&self, irq: &LocalInterruptDisabled) -> bool;
}

/// A [`MsiHandler`] as the interrupt core knows it.
struct Handler<T>(T);

impl<T: MsiHandler> irq::Handler for Handler<T> {
    fn handle(&self) -> irq::IrqReturn {
        // SAFETY: This is a hard interrupt handler (PREEMPT_RT is off): interrupts are disabled.
        let irq = unsafe { LocalInterruptDisabled::assume_disabled() };
        if self.0.interrupt(irq) {
            irq::IrqReturn::Handled
        } else {
            irq::IrqReturn::None
        }
    }
}

/// An MSI vector whose handler is registered for as long as this exists.
///
/// Fields are dropped in this order: the handler before the vector it is for.
#[pin_data]
pub(crate) struct Msi<T: MsiHandler> {
    #[pin]
    handler: irq::Registration<'static, Handler<T>>,
    vectors: KBox<IrqVectorRegistration<'static>>,
}

impl<T: MsiHandler> Msi<T> {
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
            irq::Registration::new(
                vector.into(),
                Flags::TRIGGER_NONE,
                name,
                Ok(Handler(handler)),
            )
        };
        Ok(try_pin_init!(Self { handler <- handler, vectors }))
    }
}
