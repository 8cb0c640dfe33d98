//! Whole trainings on a GPU against the CPU's executor: launch by launch, and as one captured graph.

use std::sync::Arc;

use super::programs::{BATCH, LABELS, nested, program, settings};
use super::script::close;
use super::{gpu, is_stand_in};
use crate::Optimiser;
use crate::cuda::device::{Device, DeviceExecutor, Modes, Replay};
use crate::optimiser::{Rule, Settings};
use crate::program::{Batch, Control, Executor, Precision, Program, Runner, Weights};
use crate::testing::Random;

const STEPS: u64 = 4;
const SGD: Rule = Rule::Sgd {
    momentum: 0.9,
    nesterov: true,
};

fn weights(program: &Program, random: &mut Random) -> Weights {
    let mut draw = |len: usize| {
        random
            .values(len)
            .iter()
            .map(|it| 0.5 * it)
            .collect::<Vec<_>>()
    };
    let ports = program.ports();
    let parameters = ports.parameters.iter();
    let parameters = parameters.map(|it| draw(program.span(it.value).len));
    let parameters = parameters.collect();
    let running = ports.running.iter();
    // Variances are positive.
    let running = running.map(|&it| {
        draw(program.span(it).len)
            .iter()
            .map(|it| it.abs() + 0.1)
            .collect()
    });
    Weights {
        parameters,
        running: running.collect(),
    }
}

/// Trains, or evaluates without an optimiser, on both.
fn compare(device: &Arc<Device>, channels: usize, optimiser: Option<Settings>, modes: Modes) {
    let training = optimiser.is_some();
    let program = Arc::new(program(channels, training));
    let what = format!("{channels} channels, training {training}, {modes:?}");
    // Products of rounded factors are far from exact ones after some steps.
    let rounds = modes.precision != Precision::Fp32;
    let (tolerance, steps) = match modes.precision {
        Precision::Fp32 => (2e-4, STEPS),
        Precision::Tf32 => (3e-2, 1),
        Precision::Bf16 => (1e-1, 1),
    };
    let mut random = Random::new(3);
    let start = weights(&program, &mut random);
    let mut cpu = Executor::new(Arc::clone(&program));
    cpu.load(&start).unwrap();
    cpu.set_labels(&LABELS).unwrap();
    let mut rule = optimiser.map(|it| Optimiser::new(it).unwrap());
    let runner = DeviceExecutor::new(device, Arc::clone(&program), optimiser, None, modes);
    let mut runner = runner.unwrap();
    runner.load(&start).unwrap();
    let mut losses = Vec::new();
    for step in 0..steps {
        let control = Control {
            seed: 11 + step,
            progress: 0.5,
            learning_rate: 0.05,
        };
        let pixels = random.values(program.span(program.ports().images).len);
        cpu.write(program.ports().images).copy_from_slice(&pixels);
        cpu.run(&control, rule.as_mut()).unwrap();
        runner
            .run(&control, Batch::Pixels(&pixels, &LABELS))
            .unwrap();
        losses.extend_from_slice(cpu.read(program.ports().losses));
    }
    let last = &losses[losses.len() - BATCH..];
    let (each, _) = runner.each().unwrap();
    close(&format!("{what}: losses"), &each, last, tolerance);
    let mean = last.iter().sum::<f32>() / BATCH as f32;
    close(
        &format!("{what}: loss"),
        &[runner.loss().unwrap()],
        &[mean],
        tolerance,
    );
    let totals = runner.take_totals().unwrap();
    assert_eq!(totals.images, steps * BATCH as u64, "{what}");
    let sum = losses.iter().sum::<f32>();
    close(
        &format!("{what}: sum of losses"),
        &[totals.loss as f32],
        &[sum],
        tolerance,
    );
    assert_eq!(
        runner.take_totals().unwrap().images,
        0,
        "{what}: counted anew"
    );
    let found = runner.weights().unwrap();
    let values = found.parameters.iter().chain(&found.running);
    for (buffer, found) in program.learned().zip(values) {
        close(
            &format!("{what}: learned"),
            found,
            cpu.read(buffer),
            tolerance,
        );
    }
    let state = runner.state().unwrap();
    if let Some(rule) = rule {
        let expected = rule.state();
        assert_eq!(state.steps, expected.steps, "{what}");
        let [found_moments, expected] = [&state.moments, &expected.moments].map(|it| {
            let all = it.iter().flatten().map(Vec::as_slice);
            // Where terms of some size sum to little, what rounding leaves is of the terms' size.
            if rounds {
                vec![all.collect::<Vec<_>>().concat()]
            } else {
                all.map(<[f32]>::to_vec).collect()
            }
        });
        for (found, expected) in found_moments.iter().zip(&expected) {
            close(&format!("{what}: moments"), found, expected, tolerance);
        }
        // Another executor goes on from there.
        let next = DeviceExecutor::new(device, Arc::clone(&program), optimiser, None, modes);
        let mut next = next.unwrap();
        next.load(&found).unwrap();
        next.set_state(&state).unwrap();
        let again = next.state().unwrap();
        assert_eq!(
            (again.steps, &again.moments),
            (state.steps, &state.moments),
            "{what}"
        );
    }
}

#[test]
fn trainings_are_the_cpus() {
    let Some(device) = gpu() else {
        return;
    };
    let adam = Rule::Adam {
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-3,
    };
    for replay in [Replay::Eager, Replay::Captured] {
        for precision in [Precision::Fp32, Precision::Tf32, Precision::Bf16] {
            let modes = Modes {
                replay,
                precision,
                cudnn: false,
            };
            // Where terms of some size sum to little, bfloat16 leaves nothing: script.rs checks a step of it.
            if precision != Precision::Bf16 {
                compare(device, 8, Some(settings(SGD)), modes);
            }
            // Adam's first step is the gradient's sign, which rounded factors may turn.
            if precision == Precision::Fp32 {
                compare(device, 6, Some(settings(adam)), modes);
            }
            compare(device, 8, None, modes);
        }
    }
}

/// What a training has learned after so many steps, and each step's loss.
fn learned(
    device: &Arc<Device>,
    program: &Arc<Program>,
    modes: Modes,
    steps: u64,
) -> (Weights, Vec<f32>) {
    let mut random = Random::new(5);
    let start = weights(program, &mut random);
    let optimiser = Some(settings(SGD));
    let runner = DeviceExecutor::new(device, Arc::clone(program), optimiser, None, modes);
    let mut runner = runner.unwrap();
    runner.load(&start).unwrap();
    let mut losses = Vec::new();
    for step in 0..steps {
        let control = Control {
            seed: 23 + step,
            progress: 0.5,
            learning_rate: 0.01,
        };
        let pixels = random.values(program.span(program.ports().images).len);
        let batch = Batch::Pixels(&pixels, &LABELS);
        runner.run(&control, batch).unwrap();
        losses.push(runner.loss().unwrap());
    }
    (runner.weights().unwrap(), losses)
}

/// Every sum has one order, also cuBLAS's in a workspace of its own, so any difference is a race.
#[test]
fn pieces_at_once_do_what_they_do_in_a_row() {
    let Some(device) = gpu() else {
        return;
    };
    let (channels, steps, times) = match is_stand_in() {
        true => (&[8][..], 3, 1),
        false => (&[8, 16, 32, 64][..], 20, 3),
    };
    let programs = channels.iter().flat_map(|&channels| {
        let made = [program, nested].map(|made| made(channels, true));
        made.map(|it| (channels, Arc::new(it)))
    });
    for (channels, program) in programs {
        for precision in [Precision::Tf32, Precision::Fp32, Precision::Bf16] {
            let run = |replay| {
                let modes = Modes {
                    replay,
                    precision,
                    cudnn: false,
                };
                learned(device, &program, modes, steps)
            };
            let what = format!("{channels} channels, {precision:?}");
            let in_a_row = run(Replay::Eager);
            for time in 0..times {
                let found = run(Replay::Captured);
                assert_eq!(found.1, in_a_row.1, "losses, {what}, time {time}");
                assert!(found.0 == in_a_row.0, "{what}, time {time}");
            }
        }
    }
}

#[test]
fn trainings_with_cudnn_are_the_cpus() {
    let Some(device) = gpu() else {
        return;
    };
    let modes = |replay, precision| Modes {
        replay,
        precision,
        cudnn: true,
    };
    let bytes = |cudnn| {
        let modes = Modes {
            cudnn,
            ..modes(Replay::Eager, Precision::Fp32)
        };
        let program = Arc::new(program(8, true));
        let made = DeviceExecutor::new(device, program, Some(settings(SGD)), None, modes);
        made.unwrap().bytes()
    };
    if bytes(true) == bytes(false) {
        eprintln!("cuDNN was not found, so nothing with it is checked");
        return;
    }
    for (replay, precision) in [
        (Replay::Eager, Precision::Fp32),
        (Replay::Eager, Precision::Tf32),
        (Replay::Captured, Precision::Fp32),
        (Replay::Captured, Precision::Bf16),
    ] {
        if precision != Precision::Bf16 {
            compare(device, 8, Some(settings(SGD)), modes(replay, precision));
        }
        compare(device, 8, None, modes(replay, precision));
    }
}

#[test]
fn a_program_larger_than_the_memory_is_refused() {
    let Some(device) = gpu() else {
        return;
    };
    let (_, total) = device.memory().unwrap();
    let mut builder = crate::program::Builder::new(1, false);
    let images = builder.images([1, 1, 1]);
    let flat = builder.flatten(images);
    let units = total / 4 + 1;
    let w = builder.parameter(units, true);
    let logits = builder.linear(flat, w, None, units).unwrap();
    builder.output(logits, 1.0, 0.0);
    let program = Arc::new(builder.finish().unwrap());
    let modes = Modes {
        replay: Replay::Eager,
        precision: Precision::Fp32,
        cudnn: true,
    };
    let refused = DeviceExecutor::new(device, program, None, None, modes);
    let error = refused.err().expect("it does not fit").to_string();
    assert!(error.contains("out of memory"), "{error}");
}
