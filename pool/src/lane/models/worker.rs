//! The worker's side of a model.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};

use crate::lane::sync::Died;

use super::*;

/// What a worker does with its end, in a worker's order: each item is a task whose value is the item.
pub(super) struct Worker {
    pub(super) end: WorkerEnd,
    pub(super) bell: Bell,
    pub(super) log: Log,
}

/// What a worker has truly done: the items that it has begun to run, and how many values it has sent.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<(Vec<u8>, usize)>>);

impl Log {
    pub(super) fn begun(&self) -> Vec<u8> {
        self.0.lock().unwrap().0.clone()
    }

    pub(super) fn sent(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

impl Worker {
    /// Works until it is told to end, its lane is closed, or it dies; says whether it has died. The parent hears of it.
    pub(super) fn work(mut self) -> bool {
        let worked = catch_unwind(AssertUnwindSafe(|| while self.obey_next() {}));
        let died = worked.is_err();
        match worked {
            Err(panic) if !panic.is::<Died>() => resume_unwind(panic),
            _ => self.bell.end(),
        }
        died
    }

    /// Takes one chunk, and runs no more than its first task.
    pub(super) fn refrain_after_one(&mut self) {
        let Self { end, log, .. } = self;
        end.serve(|order, answer| {
            run_chunk(&order.payload[..1], answer, log);
            answer.refrain();
            run_chunk(&order.payload[1..], answer, log);
        })
        .expect("no parent writes this");
    }

    fn obey_next(&mut self) -> bool {
        let Self { end, log, .. } = self;
        end.serve(|order, answer| obey(order, answer, log)).expect("no parent writes this") == Some(true)
    }
}

fn obey(order: Order<'_>, answer: &mut Chunk<'_>, log: &Log) -> bool {
    match order.tag {
        order::CHUNK => run_chunk(order.payload, answer, log),
        order::RESUME => {
            answer.resume_after_this();
            done(answer);
        }
        order::EXIT => {
            done(answer);
            return false;
        }
        tag => panic!("order {tag} was not sent"),
    }
    true
}

fn run_chunk(items: &[u8], answer: &mut Chunk<'_>, log: &Log) {
    for (index, item) in items.iter().enumerate() {
        if !answer.claim(1) {
            return answer.skip((items.len() - index) as u32);
        }
        answer.start_unit();
        log.0.lock().unwrap().0.push(*item);
        send(reply::VALUE, &[*item], answer);
        log.0.lock().unwrap().1 += 1;
        answer.finish_unit();
        answer.nudge();
    }
}

/// The order is answered, and the parent hears of it.
fn done(answer: &mut Chunk<'_>) {
    send(reply::DONE, &[], answer);
    answer.finish_unit();
    answer.alarm();
}

fn send(tag: u8, value: &[u8], answer: &mut Chunk<'_>) {
    let Ok(()) = answer.reply(tag, tag, |out| {
        out.append(value);
        Ok::<(), Infallible>(())
    });
}
