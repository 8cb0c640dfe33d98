//! Times single convolutions and chains, forward and with gradients, at the shapes of networks.
//!
//! `cargo run --release -p cellwright-ops --example units [FILTER] [THREADS]` prints milliseconds
//! (the least of 21, or the median with MEDIAN set) and GFLOP/s. With CPU set, milliseconds are the
//! processor's time divided by the threads, which a busy machine disturbs less.

use std::time::Instant;

use cellwright_ops::{
    BatchNorm, Conv2d, Feature, Norm, Running, Unit, Vector, buffers, chain, threads,
};
use dfdx::prelude::*;

struct Weights {
    weight: Feature<Cpu>,
    conv: Conv2d,
    pointwise: Option<Feature<Cpu>>,
    scale: Vector<Cpu>,
    shift: Vector<Cpu>,
    running: Running<Cpu>,
}

fn weights(
    device: &Cpu,
    kernel: usize,
    stride: usize,
    from: usize,
    to: usize,
    separable: bool,
) -> Weights {
    let groups = if separable { from } else { 1 };
    let dims = if separable {
        (kernel, kernel, 1, from)
    } else {
        (kernel, kernel, from, to)
    };
    Weights {
        weight: device.sample_normal_like(&dims) * 0.1,
        conv: Conv2d {
            stride: [stride; 2],
            groups,
            ..Conv2d::default()
        }
        .same([kernel; 2]),
        pointwise: separable.then(|| device.sample_normal_like(&(1, 1, from, to)) * 0.1),
        scale: device.ones_like(&(to,)),
        shift: device.zeros_like(&(to,)),
        running: Running::new(device, to).expect("memory"),
    }
}

fn units(all: &mut [Weights], training: bool) -> Vec<Unit<'_, Cpu>> {
    all.iter_mut()
        .map(|w| Unit {
            relu_before: true,
            weight: &w.weight,
            conv: w.conv,
            pointwise: w.pointwise.as_ref(),
            norm: Some(Norm {
                scale: Some(&w.scale),
                shift: Some(&w.shift),
                running: &mut w.running,
                options: BatchNorm::default(),
                relu: false,
                training,
            }),
        })
        .collect()
}

fn time(mut work: impl FnMut()) -> f64 {
    work();
    let mut times: Vec<f64> = (0..21)
        .map(|_| {
            let start = Instant::now();
            let used = cpu_seconds();
            work();
            if std::env::var_os("CPU").is_some() {
                return (cpu_seconds() - used) * 1e3 / threads::threads() as f64;
            }
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[if std::env::var_os("MEDIAN").is_some() {
        10
    } else {
        0
    }]
}

/// Seconds of processor time that this process has used.
fn cpu_seconds() -> f64 {
    // SAFETY: the call fills in the struct that it is given.
    unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time);
        time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let filter = arguments.next().unwrap_or_default();
    let count = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(2);
    threads::set_threads(count).expect("threads");
    let device = Cpu::default();
    // name, size, channels, filters, kernel, stride, separable, units
    let cases = [
        ("sep3x2", 32, 16, 16, 3, 1, true, 2),
        ("sep5x2", 32, 16, 16, 5, 1, true, 2),
        ("sep5x2", 16, 32, 32, 5, 1, true, 2),
        ("sep5x2", 8, 64, 64, 5, 1, true, 2),
        ("sep7", 32, 16, 16, 7, 2, true, 1),
        ("sep5x2", 28, 8, 8, 5, 1, true, 2),
        ("sep5x2", 32, 32, 32, 5, 1, true, 2),
        ("sep5x2", 16, 64, 64, 5, 1, true, 2),
        ("sep5x2", 8, 128, 128, 5, 1, true, 2),
        ("conv1", 32, 96, 16, 1, 1, false, 1),
        ("conv1", 16, 192, 32, 1, 1, false, 1),
        ("conv1", 8, 384, 64, 1, 1, false, 1),
        ("conv3", 32, 3, 64, 3, 1, false, 1),
        ("conv3", 32, 64, 64, 3, 1, false, 1),
        ("conv3", 16, 128, 128, 3, 1, false, 1),
        ("conv3", 8, 256, 256, 3, 1, false, 1),
        ("conv3", 4, 512, 512, 3, 1, false, 1),
        ("conv3s2", 32, 64, 128, 3, 2, false, 1),
        ("conv3vgg", 2, 512, 512, 3, 1, false, 1),
    ];
    println!(
        "{:<10} {:>14} {:>9} {:>9} {:>9} {:>8} {:>8}",
        "unit", "shape", "infer ms", "fwd ms", "step ms", "fwd GF", "step GF"
    );
    for (name, size, channels, filters, kernel, stride, separable, repeat) in cases {
        if !name.contains(&filter) {
            continue;
        }
        let batch = 64;
        let x: Feature<Cpu> = device.sample_normal_like(&(batch, size, size, channels));
        let mut all: Vec<Weights> = (0..repeat)
            .map(|i| {
                let from = if i == 0 { channels } else { filters };
                let stride = if i == 0 { stride } else { 1 };
                weights(&device, kernel, stride, from, filters, separable)
            })
            .collect();
        let infer = time(|| {
            chain(&mut NoneTape, &x, units(&mut all, false)).expect("shapes");
        });
        let forward = time(|| {
            chain(&mut NoneTape, &x, units(&mut all, true)).expect("shapes");
        });
        let y = chain(&mut NoneTape, &x, units(&mut all, true)).expect("shapes");
        let gradient: Feature<Cpu> = device.sample_normal_like(y.shape());
        let step = time(|| {
            let mut tape = OwnedTape::default();
            let y = chain(&mut tape, &x, units(&mut all, true)).expect("shapes");
            let (y, gradient) = (y.clone(), gradient.clone());
            let output = y.ghost();
            tape.add_backward_op(move |gradients| {
                gradients
                    .get_or_alloc_mut(&output)?
                    .copy_from_slice(buffers::read("gradient", &gradient).unwrap_or_default());
                Ok(())
            });
            let loss: Tensor<Rank0, f32, Cpu> = y.device().zeros();
            loss.put_tape(tape).backward();
        });
        let out = (size / stride) * (size / stride) * batch;
        let per_pixel = if separable {
            kernel * kernel * channels + channels * filters
        } else {
            kernel * kernel * channels * filters
        };
        let flops = 2.0 * (out * per_pixel * repeat) as f64 / 1e6;
        println!(
            "{name:<10} {:>14} {infer:>9.2} {forward:>9.2} {step:>9.2} {:>8.1} {:>8.1}",
            format!("{size}x{size}x{channels}>{filters}"),
            flops / forward,
            3.0 * flops / step
        );
    }
}
