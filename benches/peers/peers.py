"""The jobs of the benchmarks, by the pools of Python: peers.py OURS.json [--rounds N].

Every contender has its turn in every round. The ratio is to what this project's pool by fork server took for the same
job in the run that wrote OURS.json.
"""

import argparse
import contextlib
import csv
import functools
import io
import json
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import joblib
import loky
import mpire
import numpy
from PIL import Image
from scipy import signal

WORKERS = 2
MIB = 1 << 20
DATA = Path(__file__).parents[2] / "examples/data"


class Mpire:
    name = "MPIRE, fork"

    def __enter__(self):
        self.pool = mpire.WorkerPool(WORKERS, start_method="fork", keep_alive=True)
        return self

    def __exit__(self, *_):
        self.pool.stop_and_join()
        self.pool.terminate()

    def map(self, call, items, chunk):
        return self.pool.map(call, [(item,) for item in items], chunk_size=chunk)

    def apply(self, call, item):
        return self.pool.apply(call, (item,))


class Multiprocessing:
    name = "multiprocessing.Pool"

    def __enter__(self):
        self.pool = multiprocessing.get_context("fork").Pool(WORKERS)
        return self

    def __exit__(self, *_):
        self.pool.close()
        self.pool.join()

    def map(self, call, items, chunk):
        return self.pool.map(call, items, chunksize=chunk)

    def apply(self, call, item):
        return self.pool.apply(call, (item,))


class Futures:
    name = "concurrent.futures"

    def __enter__(self):
        self.pool = ProcessPoolExecutor(WORKERS)
        return self

    def __exit__(self, *_):
        self.pool.shutdown()

    def map(self, call, items, chunk):
        # It has no default of its own but 1.
        return list(self.pool.map(call, items, chunksize=chunk or max(1, len(items) // 128)))

    def apply(self, call, item):
        return self.pool.submit(call, item).result()


class Loky(Futures):
    name = "loky"

    def __enter__(self):
        self.pool = loky.ProcessPoolExecutor(WORKERS)
        return self


class Joblib:
    name = "joblib"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def map(self, call, items, chunk):
        parallel = joblib.Parallel(WORKERS, batch_size=chunk or "auto")
        return parallel(joblib.delayed(call)(item) for item in items)

    def apply(self, call, item):
        return self.map(call, [item], 1)[0]


PEERS = [Mpire, Multiprocessing, Futures, Loky, Joblib]


def add_one(x):
    return x + 1


def ends(data):
    return data[0] + data[-1]


def filled(byte):
    return bytes([byte]) * MIB


def timed(call, expected):
    start = time.perf_counter()
    result = call()
    took = time.perf_counter() - start
    assert result == expected, "a result is wrong"
    return took


def mapped(call, items, chunk, unit):
    """A job: the figure of one round of a warm pool, for each task."""
    expected = [call(item) for item in items]
    return lambda pool: timed(lambda: pool.map(call, items, chunk), expected) / len(items) * unit


def applied(calls, rest):
    def figure(pool):
        total = 0
        for x in range(calls):
            time.sleep(rest)
            total += timed(lambda: pool.apply(add_one, x), x + 1)
        return total / calls * 1e6

    return figure


def compare(ours, rounds, job, unit, peers):
    """Peers are pairs of a name and what gives the figure of a round."""
    figures = {name: [] for name, _ in peers}
    for _ in range(rounds):
        for name, figure in peers:
            figures[name].append(figure())
    rows = [row for table in ours if table["job"] == job for row in table["rows"]]
    own = next((row["median"] for row in rows if row["contender"] == "pool, ForkServer"), None)
    print(f"\n{job} ({unit}, median of {rounds} rounds)")
    if own is not None:
        print(f"  {'pool, ForkServer':22}{own:12.2f}")
    for name, taken in figures.items():
        median = statistics.median(taken)
        ratio = f"x {median / own:.1f}" if own else ""
        print(f"  {name:22}{median:12.2f}  ({min(taken):.2f} to {max(taken):.2f})  {ratio}", flush=True)


def started(peer):
    def call():
        with peer() as pool:
            return pool.apply(add_one, 1)

    return lambda: timed(call, 2) * 1e3


# The three programs, as MPIRE's users write them.


def photograph():
    return numpy.asarray(Image.open(DATA / "alpine-landscape.jpg").convert("L"), dtype=numpy.float32) / 255


def convolve(image, filter):
    return signal.convolve2d(image, filter)[::5, ::5]


def numbers():
    filters = list(numpy.random.default_rng(1).random((80, 4, 4), dtype=numpy.float32) - 0.5)
    with mpire.WorkerPool(WORKERS, shared_objects=photograph(), start_method="fork") as pool:
        return len(pool.map(convolve, [(filter,) for filter in filters], concatenate_numpy_output=False))


def count(state, document):
    for word in document.split():
        for end in range(1, min(3, len(word)) + 1):
            prefix = word[:end]
            state[prefix] = state.get(prefix, 0) + 1


def prefixes():
    documents = [path.read_text() for path in sorted((DATA / "moby-dick").iterdir())]
    with mpire.WorkerPool(WORKERS, use_worker_state=True, start_method="fork") as pool:
        pool.map(count, [(document,) for document in documents], worker_exit=dict)
        return len({prefix for counts in pool.get_exit_results() for prefix in counts})


def read_digits():
    text = (DATA / "digits.csv").read_text()
    return numpy.array(list(csv.reader(io.StringIO(text))), dtype=numpy.int32)


def load(state):
    known = read_digits()[:1200]
    state["pixels"], state["labels"] = known[:, :64], known[:, 64]


def classify(state, pixels):
    distances = ((state["pixels"] - pixels) ** 2).sum(axis=1)
    return int(state["labels"][distances.argmin()])


def model():
    digits = [row[:64] for row in read_digits()[1200:]] * 4
    with mpire.WorkerPool(WORKERS, use_worker_state=True, start_method="fork") as pool:
        return len(pool.map(classify, [(pixels,) for pixels in digits], worker_init=load))


PROGRAMS = {
    "numerical computation: 80 filters over a photograph, pool included": numbers,
    "stateful computation: prefixes of Moby Dick's words, pool included": prefixes,
    "expensive initialization: handwritten digits by their neighbours, pool included": model,
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ours", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    ours = json.loads(arguments.ours.read_text())

    blocks = [bytes([byte]) * MIB for byte in range(20)] * 2
    jobs = [
        ("x + 1 over a million numbers, default chunks", "ns a task", mapped(add_one, range(1_000_000), None, 1e9)),
        ("x + 1 over a million numbers, chunks of 1", "ns a task", mapped(add_one, range(2_000), 1, 1e9)),
        ("apply, back to back", "µs a call", applied(200, 0)),
        ("apply, after 1 ms of rest", "µs a call", applied(100, 1e-3)),
        ("1 MiB in, 8 bytes out", "µs a task", mapped(ends, blocks, 1, 1e6)),
        ("8 bytes in, 1 MiB out", "µs a task", mapped(filled, [7] * 40, 1, 1e6)),
    ]
    for job, unit, figure in jobs:
        with contextlib.ExitStack() as pools:
            peers = []
            for peer in PEERS:
                pool = pools.enter_context(peer())
                pool.map(add_one, range(10), 1)
                peers.append((peer.name, functools.partial(figure, pool)))
            compare(ours, arguments.rounds, job, unit, peers)
    starts = [(peer.name, started(peer)) for peer in PEERS]
    compare(ours, arguments.rounds, "start, one task, clean end", "ms", starts)
    for job, program in PROGRAMS.items():
        expected = program()
        compare(ours, arguments.rounds, job, "ms", [("MPIRE, fork", lambda: timed(program, expected) * 1e3)])


if __name__ == "__main__":
    main()
