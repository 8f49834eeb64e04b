//! The worker of a model.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use super::*;

/// Uses its end as a worker does, in the same order. Each item is a task that returns it.
pub(super) struct Worker {
    pub(super) end: WorkerEnd,
    pub(super) waker: ParentWaker,
    pub(super) log: Log,
}

/// Records what a worker has really done: the items that it has begun to run, and the number of values that it has
/// sent.
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
    /// Works until it is told to end, its lane is closed, or it dies. Returns whether it died. The parent is told of
    /// the end.
    pub(super) fn work(mut self) -> bool {
        let died = Life::ends_in(|| while self.obey_next() {});
        self.waker.end();
        died
    }

    /// Takes one chunk, and runs only its first task.
    pub(super) fn stop_after_one(&mut self) {
        let Self { end, log, .. } = self;
        end.serve(|order, answer| {
            run_chunk(&order.payload[..1], answer, log);
            answer.stop_claiming();
            run_chunk(&order.payload[1..], answer, log);
        })
        .expect("no parent writes this");
    }

    fn obey_next(&mut self) -> bool {
        let Self { end, log, .. } = self;
        end.serve(|order, answer| obey(order, answer, log)).expect("no parent writes this") == Some(true)
    }
}

fn obey(order: Order<'_>, answer: &mut Responder<'_>, log: &Log) -> bool {
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

/// Claims short chunks task by task, and long ones as a whole, so that their values fill the ring before the parent is
/// told.
fn run_chunk(items: &[u8], answer: &mut Responder<'_>, log: &Log) {
    let claim = if items.len() > 2 { items.len() } else { 1 };
    for (index, claimed) in items.chunks(claim).enumerate() {
        if !answer.claim(claimed.len() as u32) {
            return answer.skip((items.len() - index * claim) as u32);
        }
        for item in claimed {
            answer.start_unit();
            log.0.lock().unwrap().0.push(*item);
            let Ok(()) = answer.value::<Infallible>(|out| {
                out.push(*item);
                Ok(())
            });
            log.0.lock().unwrap().1 += 1;
            answer.finish_unit();
        }
        answer.notify_if_awaited();
    }
}

/// Answers the order, and tells the parent.
fn done(answer: &mut Responder<'_>) {
    let Ok(()) = answer.reply::<Infallible>(reply::DONE, reply::DONE, |_| Ok(()));
    answer.finish_unit();
    answer.notify();
}
