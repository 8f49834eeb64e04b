//! Arrays of several dimensions: the cases of MPIRE's numpy arrays, and arrays in shared memory.

use ndarray::{
    Array1, Array2, Array3, ArrayD, ArrayView, ArrayView1, ArrayView2, ArrayView3, ArrayViewD, ArrayViewMut2,
    Axis, Ix2, array, s,
};
use pool::shared::SharedArray;
use pool::{ArrayChunk, Error, StartMethod, worker_task};

use crate::chunks::{assert_over, fail_or_linger_beside};
use crate::harness::cases;
use crate::support::{Tokens, assert_fails, assert_usable, builder, pool, ready, task_error};

cases! {
    All: one_axis, two_axes, cuts, other_axes, outputs, no_common_shape, empty, dynamic, strided, in_other_calls,
        shared, in_place, torn, options, over_when_nobody_reads;
}

#[worker_task]
fn squares(#[chunk] rows: ArrayView1<'_, f64>) -> Array1<f64> {
    rows.mapv(|x| x * x)
}

#[worker_task]
fn halves(#[chunk] rows: ArrayView2<'_, f64>) -> Array2<f64> {
    rows.mapv(|x| x / 2.0)
}

#[worker_task]
fn shapes(#[chunk] rows: ArrayView<'_, f64, Ix2>) -> Array2<usize> {
    array![[rows.nrows(), rows.ncols()]]
}

fn table(rows: usize, columns: usize) -> Array2<f64> {
    Array2::from_shape_fn((rows, columns), |(row, column)| (row * columns + column) as f64)
}

fn one_axis(method: StartMethod) -> Result<(), Error> {
    let (pool, data) = (pool(method)?, Array1::from_iter((0..1000).map(f64::from)));
    assert_eq!(squares::par_map_array(&pool, &data, Axis(0))?, squares(data.view()));
    assert_eq!(squares::par_map_array(&pool, data.view(), Axis(0))?, squares(data.view()));
    Ok(())
}

fn two_axes(method: StartMethod) -> Result<(), Error> {
    let (pool, data) = (ready(method)?, table(300, 7));
    assert_eq!(halves::par_map_array(&pool, &data, Axis(0))?, halves(data.view()));
    for chunk_size in [1, 7, 299, 1000] {
        let halved = halves::job(&pool).chunk_size(chunk_size).map_array(&data, Axis(0))?;
        assert_eq!(halved, halves(data.view()));
    }
    assert_usable(&pool);
    Ok(())
}

fn cuts(method: StartMethod) -> Result<(), Error> {
    let (pool, data) = (pool(method)?, table(10, 3));
    let job = || shapes::job(&pool);
    assert_eq!(job().chunk_size(4).map_array(&data, Axis(0))?, array![[4, 3], [4, 3], [2, 3]]);
    assert_eq!(job().n_splits(3).map_array(&data, Axis(0))?, array![[4, 3], [3, 3], [3, 3]]);
    assert_eq!(job().iterable_len(5).chunk_size(3).map_array(&data, Axis(0))?, array![[3, 3], [2, 3]]);
    assert_eq!(shapes::par_map_array(&pool, &table(64 * 2, 1), Axis(0))?.nrows(), 128, "64 for each worker");
    Ok(())
}

fn other_axes(method: StartMethod) -> Result<(), Error> {
    let (pool, data) = (pool(method)?, table(5, 8));
    assert_eq!(halves::job(&pool).chunk_size(3).map_array(&data, Axis(1))?, halves(data.view()));
    let widths = shapes::job(&pool).chunk_size(3).concatenate(false).map_array(&data, Axis(1))?;
    assert_eq!(widths, [array![[5, 3]], array![[5, 3]], array![[5, 2]]]);
    let cube = Array3::from_shape_fn((4, 5, 6), |(x, y, z)| (x * 30 + y * 6 + z) as f64);
    for axis in 0..3 {
        assert_eq!(negate::par_map_array(&pool, &cube, Axis(axis))?, -&cube);
    }
    Ok(())
}

#[worker_task]
fn negate(#[chunk] rows: ArrayView3<'_, f64>) -> Array3<f64> {
    -&rows
}

#[worker_task]
fn total(#[chunk] rows: ArrayView2<'_, f64>, #[shared] factor: &f64) -> f64 {
    rows.sum() * factor
}

#[worker_task]
fn flat(#[chunk] rows: ArrayView2<'_, f64>) -> Vec<f64> {
    rows.iter().copied().collect()
}

/// Results that are not arrays are collected as they are for slices.
fn outputs(method: StartMethod) -> Result<(), Error> {
    let (pool, data) = (builder(method).shared(2.0f64).build()?, table(4, 2));
    let totals = total::job(&pool).n_splits(2).concatenate(false).map_array(&data, Axis(0))?;
    assert_eq!(totals, [12.0, 44.0]);
    assert!(flat::par_map_array(&pool, &data, Axis(0))?.iter().eq(&data));
    Ok(())
}

#[worker_task]
fn uneven(#[chunk] rows: ArrayView2<'_, f64>) -> Array2<f64> {
    Array2::zeros((1, rows.nrows()))
}

fn no_common_shape(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let job = || uneven::job(&pool).chunk_size(2);
    assert_fails!(job().map_array(&table(3, 2), Axis(0)), Error::Concatenate(_));
    assert_eq!(job().concatenate(false).map_array(&table(3, 2), Axis(0))?.len(), 2);
    Ok(())
}

fn empty(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(halves::par_map_array(&pool, &table(0, 3), Axis(0))?.len(), 0);
    assert_eq!(halves::par_map_array(&pool, &table(3, 0), Axis(0))?.shape(), [3, 0]);
    Ok(())
}

#[worker_task]
fn any_shape(#[chunk] rows: ArrayViewD<'_, f64>) -> ArrayD<f64> {
    rows.to_owned() + 1.0
}

fn dynamic(method: StartMethod) -> Result<(), Error> {
    let (pool, data) = (pool(method)?, table(5, 4).into_dyn());
    assert_eq!(any_shape::par_map_array(&pool, &data, Axis(0))?, &data + 1.0);
    let zero = ArrayD::<f64>::zeros(vec![]);
    assert_fails!(any_shape::par_map_array(&pool, &zero, Axis(0)), Error::Option { option: "axis", .. });
    Ok(())
}

/// Views whose elements do not follow each other.
fn strided(method: StartMethod) -> Result<(), Error> {
    let (pool, data) = (pool(method)?, table(20, 6));
    for view in [data.t(), data.slice(s![..;2, 1..;3]), data.slice(s![..;-1, ..])] {
        assert_eq!(halves::job(&pool).chunk_size(2).map_array(view, Axis(0))?, halves(view));
    }
    Ok(())
}

fn in_other_calls(method: StartMethod) -> Result<(), Error> {
    let (pool, data) = (pool(method)?, table(5, 4));
    let chunks = data.axis_chunks_iter(Axis(0), 2).map(ArrayChunk::from);
    let parts: Result<Vec<Vec<f64>>, Error> = flat::job(&pool).imap(chunks).collect();
    assert!(parts?.concat().iter().eq(&data));
    Ok(())
}

fn shared(method: StartMethod) -> Result<(), Error> {
    let (pool, data) = (ready(method)?, table(100, 3));
    let mut array = SharedArray::from_slice(data.as_slice().expect("it is in one piece"))?;
    for _ in 0..2 {
        assert_eq!(halves::par_map_array(&pool, (&array, (100, 3)), Axis(0))?, halves(data.view()));
        assert_eq!(halves::par_map_array(&pool, (&mut array, (100, 3)), Axis(0))?, halves(data.view()));
    }
    let refused = halves::par_map_array(&pool, (&array, (100, 3)), Axis(1));
    assert_fails!(refused, Error::Option { option: "axis", .. });
    let refused = halves::par_map_array(&pool, (&mut array, (3, 99)), Axis(0));
    assert_fails!(refused, Error::Option { option: "shape", .. });
    Ok(())
}

#[worker_task]
fn double_diagonal(#[chunk] mut rows: ArrayViewMut2<'_, f64>) -> (usize, usize) {
    assert!(rows[[0, 0]] >= 0.0, "a negative row");
    rows.diag_mut().mapv_inplace(|x| 2.0 * x);
    rows.dim()
}

fn in_place(method: StartMethod) -> Result<(), Error> {
    let (pool, mut data) = (ready(method)?, table(5, 2));
    let mut array = SharedArray::from_slice(data.as_slice().expect("it is in one piece"))?;
    let chunks = double_diagonal::par_array_chunks_mut(&pool, &mut array, (5, 2), 2)?;
    assert_eq!(chunks, [(2, 2), (2, 2), (1, 2)]);
    for mut rows in data.axis_chunks_iter_mut(Axis(0), 2) {
        rows.diag_mut().mapv_inplace(|x| 2.0 * x);
    }
    assert!(array.iter().eq(data.iter().copied()));
    Ok(())
}

fn torn(method: StartMethod) -> Result<(), Error> {
    let (pool, mut array) = (ready(method)?, SharedArray::<f64>::zeroed(12)?);
    array.set(6, -1.0);
    let error = task_error(double_diagonal::par_array_chunks_mut(&pool, &mut array, (6, 2), 3));
    assert_eq!((error.task_index(), error.torn()), (1, Some(6..12)));
    assert_usable(&pool);
    Ok(())
}

fn options(method: StartMethod) -> Result<(), Error> {
    let (pool, mut array) = (pool(method)?, SharedArray::<f64>::zeroed(12)?);
    let wrong = halves::par_map_array(&pool, &table(2, 2), Axis(2));
    assert_fails!(wrong, Error::Option { option: "axis", .. });
    let wrong = double_diagonal::par_array_chunks_mut(&pool, &mut array, (6, 3), 3);
    assert_fails!(wrong, Error::Option { option: "shape", .. });
    let wrong = double_diagonal::par_array_chunks_mut(&pool, &mut array, (6, 2), 0);
    assert_fails!(wrong, Error::Option { option: "rows_per_chunk", .. });
    let job = halves::job(&pool).concatenate(true);
    assert_fails!(job.map_array(&table(2, 2), Axis(0)), Error::Option { option: "concatenate", .. });
    Ok(())
}

#[worker_task]
fn fail_or_linger(#[chunk] rows: ArrayView1<'_, f64>, #[shared] (started, ended): &(String, String)) -> f64 {
    fail_or_linger_beside(rows[0] > 0.0, started, ended);
    rows[0]
}

/// After a failed call over a shared array, no task reads the array any more.
fn over_when_nobody_reads(method: StartMethod) -> Result<(), Error> {
    let (started, ended) = (Tokens::new(), Tokens::new());
    let pool = builder(method).order_tasks(true).shared((started.path(), ended.path())).build()?;
    assert_usable(&pool);
    let mut array = SharedArray::from_slice(&[1.0, 0.0])?;
    let job = fail_or_linger::job(&pool).chunk_size(1).concatenate(false);
    let error = task_error(job.map_array((&mut array, 2), Axis(0)));
    assert_over(&error, &ended);
    Ok(())
}
