//! A pool of processes behind ipc-channel, as people write it by hand: each worker has a channel for its tasks, all
//! send to one for results, and a few tasks wait with each worker.

use std::env;
use std::process::{Child, Command};

use ipc_channel::ipc::{self, IpcOneShotServer, IpcReceiver, IpcSender};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::jobs::REMOTE;

/// Tells this program that it is such a worker: the name of a function, and of the server to report to.
const WORKER: &str = "POOL_BENCH_IPC_WORKER";

type Task<T> = (usize, T);
type Answer<R> = (usize, usize, R);
/// A worker's number, where its tasks come from, and where its results go.
type Post<T, R> = (usize, IpcReceiver<Task<T>>, IpcSender<Answer<R>>);

pub(crate) struct Ipc<T, R> {
    tasks: Vec<IpcSender<Task<T>>>,
    /// How many tasks a worker has at once.
    window: usize,
    results: IpcReceiver<Answer<R>>,
    children: Vec<Child>,
}

impl<T, R> Ipc<T, R>
where
    T: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned + Clone + Default,
{
    /// The function is one of [`REMOTE`], by its name there. As many tasks and results as the window allows must fit
    /// into the channels' buffers, or both sides wait for each other for ever.
    pub(crate) fn new(workers: usize, window: usize, function: &str) -> Self {
        let (send_result, results) = ipc::channel().expect("a channel can be made");
        let mut pool = Self { tasks: Vec::new(), window, results, children: Vec::new() };
        for worker in 0..workers {
            let (server, name) =
                IpcOneShotServer::<IpcSender<Post<T, R>>>::new().expect("a server can be made");
            let program = env::current_exe().expect("this program has a path");
            let child = Command::new(program).env(WORKER, format!("{function} {name}")).spawn();
            pool.children.push(child.expect("a process can be started"));
            let (_, worker_post) = server.accept().expect("the worker reports");
            let (send_task, tasks) = ipc::channel().expect("a channel can be made");
            worker_post.send((worker, tasks, send_result.clone())).expect("the worker lives");
            pool.tasks.push(send_task);
        }
        pool
    }

    pub(crate) fn map(&self, items: impl ExactSizeIterator<Item = T>) -> Vec<R> {
        let mut results = vec![R::default(); items.len()];
        let mut items = items.enumerate();
        let mut running = 0;
        let mut hand_out = |worker: usize, running: &mut usize| {
            if let Some(task) = items.next() {
                self.tasks[worker].send(task).expect("the worker lives");
                *running += 1;
            }
        };
        for place in 0..self.tasks.len() * self.window {
            hand_out(place % self.tasks.len(), &mut running);
        }
        while running > 0 {
            let (worker, place, result) = self.results.recv().expect("no task fails");
            results[place] = result;
            running -= 1;
            hand_out(worker, &mut running);
        }
        results
    }
}

impl<T, R> Drop for Ipc<T, R> {
    fn drop(&mut self) {
        // Workers see the end of their channels only when no fork of this process has them any more.
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Becomes a worker if this process was started as one, and does not return then.
pub(crate) fn serve_if_asked() {
    if let Ok(worker) = env::var(WORKER) {
        let (function, server) = worker.split_once(' ').expect("a function and a server");
        let (_, serve) = REMOTE.iter().find(|(name, _)| *name == function).expect("a function of the table");
        serve(server);
        std::process::exit(0);
    }
}

/// Calls the function for each task, until there are no more.
pub(crate) fn serve<T, R>(server: &str, call: impl Fn(T) -> R)
where
    T: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    let (send_post, post) = ipc::channel::<Post<T, R>>().expect("a channel can be made");
    let server = IpcSender::connect(server.into()).expect("the server listens");
    server.send(send_post).expect("the server listens");
    let Ok((worker, tasks, results)) = post.recv() else { return };
    while let Ok((place, item)) = tasks.recv() {
        if results.send((worker, place, call(item))).is_err() {
            return;
        }
    }
}
