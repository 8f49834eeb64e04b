//! The worker's side of a model.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use super::*;

/// What a worker does with its end, in a worker's order: each item is a task whose value is the item.
pub(super) struct Worker {
    pub(super) end: WorkerEnd,
    pub(super) waker: ParentWaker,
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
        let died = Life::ends_in(|| while self.obey_next() {});
        self.waker.end();
        died
    }

    /// Takes one chunk, and runs no more than its first task.
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

/// Short chunks are claimed task by task. Long ones are claimed whole: their values fill the ring before a nudge.
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

/// The order is answered, and the parent hears of it.
fn done(answer: &mut Responder<'_>) {
    let Ok(()) = answer.reply::<Infallible>(reply::DONE, reply::DONE, |_| Ok(()));
    answer.finish_unit();
    answer.notify();
}
