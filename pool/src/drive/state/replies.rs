//! What workers say, and how they end: replies are taken, checked, and laid into inboxes.

use nix::libc;

use super::*;
use crate::codec::decode_record;

impl State {
    /// Takes the replies that the worker has sent by now.
    pub(super) fn drain(&mut self, worker: usize) {
        let Some(post) = &mut self.posts[worker] else { return };
        if post.corrupt || !post.lane.has_reply() {
            return;
        }
        loop {
            let drained = self.drain_head(worker);
            let Some(post) = &mut self.posts[worker] else { break };
            if drained.is_err() {
                post.kill_corrupt();
            }
            if post.corrupt || post.lane.is_up_to_date() || !post.lane.has_reply() {
                break;
            }
        }
        if let Some(post) = &mut self.posts[worker] {
            post.lane.publish_read();
        }
    }

    /// Takes the replies to the order at the head of the worker's queue.
    pub(super) fn drain_head(&mut self, worker: usize) -> Result<(), Corrupt> {
        let Some(post) = &mut self.posts[worker] else { return Ok(()) };
        if !post.ready {
            self.scratch.clear();
            match post.lane.next_reply(&mut self.scratch, 0)?.ok_or(Corrupt)? {
                Reply::Record { tag: reply::READY, .. } => {}
                _ => return Err(Corrupt),
            }
            post.is_up();
            if let Some(history) = &mut self.history {
                history.is_up(worker, now_ns());
            }
            self.handle(Event::Ready { worker });
            return Ok(());
        }
        match self.supervisor.head(worker).ok_or(Corrupt)? {
            Head::Tasks { unit, job, first, count } => self.drain_tasks(worker, unit, job, first, count),
            Head::Init { unit } | Head::Resume { unit } => self.drain_order(worker, unit),
            Head::Exit { unit } => self.drain_exit(worker, unit),
        }
    }

    pub(super) fn drain_tasks(
        &mut self,
        worker: usize,
        unit: u32,
        job: JobId,
        first: u64,
        count: u64,
    ) -> Result<(), Corrupt> {
        let Self { posts, jobs, slowest, .. } = self;
        let Some(post) = &mut posts[worker] else { return Ok(()) };
        let mut void = Inbox::default();
        let slot = jobs.get_mut(&job).filter(|slot| !slot.cancelled);
        let inbox = slot.map_or(&mut void, |slot| &mut slot.inbox);
        let received = post.seen.bytes_received;
        let (mut done, mut told_bytes) = (0, 0);
        let mut told = None;
        let mut slow = Vec::new();
        let mut result = Ok(());
        while done < count {
            let start = inbox.tape.len();
            let at_most = usize::try_from(count - done).unwrap_or(usize::MAX);
            let tag = match post.lane.next_reply(&mut inbox.tape, at_most) {
                Ok(Some(Reply::Values { count, len })) => {
                    post.seen.bytes_received += (count * len) as u64;
                    inbox.push(first + done, worker, start, len, count);
                    done += count as u64;
                    if post.lane.is_up_to_date() {
                        break;
                    }
                    continue;
                }
                Ok(Some(Reply::Record { tag, .. })) => tag,
                Ok(None) => break,
                Err(corrupt) => {
                    result = Err(corrupt);
                    break;
                }
            };
            let tape = &mut inbox.tape;
            match tag {
                reply::LARGE_VALUE => {
                    let value = match post.parts.finish() {
                        Ok(Ok(value)) => value,
                        Ok(Err(why)) => {
                            told = Some(Failure::Decode(why));
                            break;
                        }
                        Err(corrupt) => {
                            result = Err(corrupt);
                            break;
                        }
                    };
                    let len = value.len();
                    if tape.is_empty() {
                        *tape = value;
                    } else {
                        tape.extend(value);
                    }
                    post.seen.bytes_received += len as u64;
                    tape.resize(start + padded(len), 0);
                    inbox.push(first + done, worker, start, len, 1);
                    done += 1;
                }
                reply::PART => {
                    result = post.parts.add(&tape[start..]);
                    tape.truncate(start);
                    if result.is_err() {
                        break;
                    }
                    post.lane.publish_read();
                    post.lane.wake_worker();
                }
                reply::ANNOUNCED => {
                    result = post.parts.announce(&tape[start..]);
                    tape.truncate(start);
                    if result.is_err() {
                        break;
                    }
                }
                reply::PART_TAKEN => {
                    post.answered_before(unit.wrapping_add(done as u32));
                    result = post.part_taken();
                    if result.is_err() {
                        break;
                    }
                }
                reply::SLOW => {
                    let told = decode_record::<Slow>(&tape[start..]).ok().filter(Slow::is_short);
                    tape.truncate(start);
                    let is_second = slow.last().is_some_and(|(index, _)| *index == first + done);
                    let Some(told) = told.filter(|_| !is_second) else {
                        result = Err(Corrupt);
                        break;
                    };
                    slow.push((first + done, told));
                }
                reply::FAILED => {
                    told_bytes = (tape.len() - start) as u64;
                    match decode_record::<Failure>(&tape[start..]) {
                        Ok(failure) => told = Some(failure),
                        Err(_) => result = Err(Corrupt),
                    }
                    tape.truncate(start);
                    break;
                }
                _ => {
                    tape.truncate(start);
                    result = Err(Corrupt);
                    break;
                }
            }
        }
        for (index, Slow { took_ns, argument }) in slow {
            let Some(slot) = jobs.get(&job) else { continue };
            let (index, took) = (index as usize, Duration::from_nanos(took_ns));
            note_slow(slowest, SlowTask { task: slot.task_name.into(), index, worker, took, argument });
        }
        let (pace_ns, bytes) = (post.lane.pace_ns(), post.seen.bytes_received - received);
        let answers = done + u64::from(told.is_some());
        post.seen.tasks += answers;
        if answers > 0 {
            post.stderr.as_mut().map(StderrPipe::note_answers);
        }
        if done > 0 {
            post.answered_before(unit.wrapping_add(done as u32));
            self.handle(Event::Done { worker, count: done, bytes, pace_ns });
        }
        if let Some(failure) = told {
            if let Some(post) = &mut self.posts[worker] {
                post.told = Some(failure);
            }
            self.handle(Event::Failed { worker, bytes: told_bytes });
            if let Some(post) = &mut self.posts[worker] {
                post.answered_before(unit.wrapping_add(done as u32 + 1));
            }
        }
        result
    }

    /// Takes the reply to an order that gives no value.
    pub(super) fn drain_order(&mut self, worker: usize, unit: u32) -> Result<(), Corrupt> {
        let Some(post) = &mut self.posts[worker] else { return Ok(()) };
        self.scratch.clear();
        let tag = match post.lane.next_reply(&mut self.scratch, 0)? {
            None => return Ok(()),
            Some(Reply::Record { tag, .. }) => tag,
            Some(Reply::Values { .. }) => return Err(Corrupt),
        };
        let event = match tag {
            reply::PART_TAKEN => return post.part_taken(),
            reply::DONE => Event::OrderDone { worker },
            reply::FAILED => {
                post.told = Some(decode_record(&self.scratch).map_err(|_| Corrupt)?);
                Event::Failed { worker, bytes: 0 }
            }
            _ => return Err(Corrupt),
        };
        post.answered_before(unit.wrapping_add(1));
        self.handle(event);
        Ok(())
    }

    pub(super) fn drain_exit(&mut self, worker: usize, unit: u32) -> Result<(), Corrupt> {
        let Some(post) = &mut self.posts[worker] else { return Ok(()) };
        self.scratch.clear();
        let tag = match post.lane.next_reply(&mut self.scratch, 0)? {
            None => return Ok(()),
            Some(Reply::Record { tag, .. }) => tag,
            Some(Reply::Values { .. }) => return Err(Corrupt),
        };
        match tag {
            reply::ANNOUNCED => post.parts.announce(&self.scratch)?,
            reply::PART => {
                post.parts.add(&self.scratch)?;
                post.lane.publish_read();
                post.lane.wake_worker();
            }
            reply::EXIT_VALUE | reply::LARGE_EXIT_VALUE => {
                let value = match tag {
                    reply::LARGE_EXIT_VALUE => post.parts.finish()?,
                    _ => Ok(std::mem::take(&mut self.scratch)),
                };
                post.count_exit(&self.profiles)?;
                let value = match value {
                    Ok(value) => value,
                    Err(why) => {
                        self.exit_failed(worker, TaskErrorKind::Decode(why), None);
                        return Ok(());
                    }
                };
                let (exit, value) = value.split_first_chunk().ok_or(Corrupt)?;
                let exit = u32::from_le_bytes(*exit);
                if self.profiles.iter().all(|profile| profile.exit != Some(exit)) {
                    return Err(Corrupt);
                }
                self.exits.push(exit, worker, value);
            }
            reply::EXIT_FAILED => {
                post.count_exit(&self.profiles)?;
                let failure: Failure = decode_record(&self.scratch).map_err(|_| Corrupt)?;
                self.exit_failed(worker, failure.into(), None);
            }
            reply::PART_TAKEN => return post.part_taken(),
            reply::DONE => {
                post.answered_before(unit.wrapping_add(1));
                self.handle(Event::OrderDone { worker });
            }
            _ => return Err(Corrupt),
        }
        Ok(())
    }

    pub(super) fn exit_failed(&mut self, worker: usize, kind: TaskErrorKind, stderr_tail: Option<String>) {
        let kind = TaskErrorKind::Exit(Box::new(kind));
        let error = || TaskError::new("exit", 0, worker, 1, None, kind).with_stderr_tail(stderr_tail);
        self.exit_error.get_or_insert_with(error);
    }

    /// Threads end without a sign.
    pub(super) fn look_for_finished_threads(&mut self) {
        for worker in 0..self.posts.len() {
            if matches!(&self.posts[worker], Some(WorkerHandle { child: Child::Thread(thread), .. }) if thread.is_finished())
            {
                self.reap(worker);
            }
        }
    }

    /// Whether the kernel may have killed this worker for want of memory.
    fn has_run_out_of_memory(&mut self, worker: usize) -> bool {
        let others = self.posts.iter().flatten().count().saturating_sub(1) as u64;
        let Some(WorkerHandle { child: Child::Process(process), .. }) = &self.posts[worker] else {
            return false;
        };
        process.killed_as().is_some_and(|killed| self.out_of_memory.has_killed(killed, others))
    }

    /// Sees whether the worker has ended. Its last replies are taken first: what it committed counts.
    pub(super) fn reap(&mut self, worker: usize) {
        let Some(post) = &mut self.posts[worker] else { return };
        let mut death = match &mut post.child {
            Child::Process(process) => match process.try_reap() {
                Some(status) => status.into(),
                None if process.is_stuck() => {
                    let jobs = self.jobs.keys().copied().collect();
                    self.given_up.push((process.give_up(), jobs));
                    Death::new(DeathCause::Stuck)
                }
                None => return,
            },
            Child::Thread(thread) if thread.is_finished() => Death::new(DeathCause::Exited(0)),
            Child::Thread(_) => return,
        };
        self.drain(worker);
        if death.signal() == Some(libc::SIGKILL) {
            death.out_of_memory = self.has_run_out_of_memory(worker);
        }
        if self.posts[worker].as_ref().is_some_and(|post| post.corrupt && !post.ready) {
            // It was up, or it could not have written over what it had said.
            self.handle(Event::Ready { worker });
        }
        let Some(post) = &mut self.posts[worker] else { return };
        let head = self.supervisor.head(worker);
        // Where replies are lost with the lane, what was started may have been done, and must not be done again.
        let at = |unit| if post.corrupt { post.lane.has_started(unit) } else { post.lane.is_running(unit) };
        let running = head.is_some_and(|head| at(head.unit()));
        self.last_death = if post.corrupt { Death::new(DeathCause::Corrupt) } else { death };
        self.stderr_tail = post.stderr.as_mut().and_then(|stderr| self.printed.take_last(stderr));
        if let Some(board) = &mut post.board {
            board.look(worker);
        }
        post.log.as_mut().map(|log| log.take(|record| self.events.logged(worker, record)));
        let died = post.corrupt || death.exit_code() != Some(0) || running;
        post.seen.deaths = u32::from(died);
        if died {
            self.events.died(worker, self.last_death, self.stderr_tail.as_deref());
        } else {
            self.events.ended(worker);
        }
        if let Some(history) = &mut self.history {
            let now = now_ns();
            let noted = post.track.as_ref().map(|track| track.read(now)).unwrap_or_default();
            history.ended(worker, noted, died.then(|| self.last_death.to_string()), now);
        }
        self.handle(Event::Died { worker, running });
        if self.supervisor.is_absent(worker) {
            self.forget(worker);
        }
    }
}
