//! The constants of calls, as a worker keeps them, and lends them to tasks.

use std::any::Any;

use super::{panicked, panics};
use crate::codec::Codec;
use crate::lane::Responder;
use crate::task::Task;
use crate::task::arg::Arg;
use crate::wire::{ConstantAction, ConstantOrder, Failure};

/// The constants of the calls that the worker has tasks of, and which of them the next chunk needs.
#[derive(Default)]
pub(crate) struct Constants {
    kept: Vec<Constant>,
    current: Option<u32>,
}

/// The constant of a call.
pub(crate) struct Constant {
    call: u32,
    bytes: Vec<u8>,
    /// Its value, or why there is none. Decoded by the first task that needs it: if that ends the worker, it is the
    /// task that fails, and no worker after it is started in vain.
    value: Option<Result<Box<dyn Any>, Failure>>,
}

impl Constants {
    /// Carries out an order. `parts` is what has come before it of a large constant.
    pub(crate) fn obey(&mut self, order: &[u8], parts: &mut Vec<u8>) {
        let Some((ConstantOrder { call, action }, bytes)) = ConstantOrder::split(order) else { return };
        match action {
            ConstantAction::Keep => {
                let mut whole = std::mem::take(parts);
                whole.extend_from_slice(bytes);
                self.forget(call);
                self.kept.push(Constant { call, bytes: whole, value: None });
                self.current = Some(call);
            }
            ConstantAction::Use => self.current = Some(call),
            ConstantAction::Forget => self.forget(call),
        }
    }

    fn forget(&mut self, call: u32) {
        if let Some(place) = self.kept.iter().position(|kept| kept.call == call) {
            drop_quietly(self.kept.swap_remove(place));
        }
    }

    /// Drops them all, at the end of the worker.
    pub(crate) fn clear(&mut self) {
        self.kept.drain(..).for_each(drop_quietly);
    }

    /// The one that the next chunk needs.
    pub(crate) fn current(&mut self) -> Option<&mut Constant> {
        let call = self.current?;
        self.kept.iter_mut().find(|kept| kept.call == call)
    }
}

/// Drops a constant. If that panics, no order has failed.
fn drop_quietly(constant: Constant) {
    let _ = panics::catch(|| drop(constant));
}

/// Lends the constant of a call to its tasks in one chunk.
pub(super) struct Lender<'w, T: Task> {
    value: Option<&'w T::Arg>,
    constant: Option<&'w mut Constant>,
}

impl<'w, T: Task> Lender<'w, T> {
    pub(super) fn new(constant: Option<&'w mut Constant>) -> Self {
        Self { value: T::Arg::NONE, constant }
    }

    /// The constant for the next task.
    #[inline]
    pub(super) fn lend(
        &mut self,
        codec: Codec,
        lane: &Responder<'_>,
    ) -> Result<&'w <T::Arg as Arg>::Lent, Failure> {
        if let Some(none) = T::Arg::NONE {
            return Ok(none.lend());
        }
        match self.value {
            Some(value) => Ok(value.lend()),
            None => self.decode(codec, lane),
        }
    }

    #[cold]
    fn decode(&mut self, codec: Codec, lane: &Responder<'_>) -> Result<&'w <T::Arg as Arg>::Lent, Failure> {
        let constant = self.constant.take().ok_or_else(|| undecoded("the worker has none"))?;
        if constant.value.is_none() {
            // The bytes are needed only once.
            let bytes = std::mem::take(&mut constant.bytes);
            constant.value = Some(match panics::catch(|| T::decode_arg(codec, &bytes)) {
                Ok(Ok(value)) => Ok(Box::new(value)),
                Ok(Err(why)) => Err(undecoded(&why)),
                Err(panic) => Err(panicked(panic, lane)),
            });
        }
        if let Some(Err(failure)) = &constant.value {
            let failure = failure.clone();
            self.constant = Some(constant);
            return Err(failure);
        }
        let constant: &'w Constant = constant;
        let value = constant.value.as_ref().and_then(|value| value.as_ref().ok()?.downcast_ref::<T::Arg>());
        self.value = value;
        value.map(Arg::lend).ok_or_else(|| undecoded("it is of another task"))
    }
}

fn undecoded(why: &str) -> Failure {
    Failure::Decode(format!("the value of the call's `#[arg]`: {why}"))
}
