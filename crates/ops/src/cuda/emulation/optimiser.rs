//! Steps of every rule, with decay and clipping, over parameters of several sizes.

use dfdx::prelude::*;

use super::columns::Memory;
use super::{Buffer, Emulator, assert_close, check};
use crate::buffers::tensor;
use crate::cuda::Pointer;
use crate::cuda::kernels::columns::ScratchSize;
use crate::cuda::kernels::optimiser::{self as kernels, Parameter, Uploaded};
use crate::optimiser::{Optimiser, ParameterMut, Rule, Settings, WeightDecay};
use crate::testing::Random;

const LENGTHS: [usize; 5] = [4096, 5, 9001, 1, 64];
const DECAYS: [bool; 5] = [true, false, true, true, false];

fn one(device: &Emulator, settings: Settings, random: &mut Random) {
    let cpu = Cpu::default();
    let vector = |values: &[f32]| tensor(&cpu, values.to_vec(), (values.len(),)).unwrap();
    let mut vectors = LENGTHS.map(|length| vector(&random.values(length)));
    let mut optimiser = Optimiser::new(settings).unwrap();
    let mut values: Vec<Buffer> = vectors.iter().map(|v| Buffer::of(&v.as_vec())).collect();
    let mut moments: Vec<Buffer> = (0..2)
        .flat_map(|_| LENGTHS.map(|n| Buffer::of(&vec![0.0f32; n])))
        .collect();
    let kept = match settings.rule {
        Rule::Sgd { momentum: 0.0, .. } => 0,
        Rule::Sgd { .. } => 1,
        Rule::Adam { .. } => 2,
    };
    for step in 1..=3 {
        let numbers = LENGTHS.map(|length| random.values(length));
        let mut gradients = Gradients::leaky();
        for (vector, numbers) in vectors.iter().zip(&numbers) {
            **gradients.get_or_alloc_mut(vector).unwrap() = numbers.clone();
        }
        let rate = 0.1 / step as f64;
        let mut list: Vec<_> = vectors.iter_mut().map(ParameterMut::Vector).collect();
        let expected = optimiser
            .step(rate, &mut list, &DECAYS, &mut gradients)
            .unwrap();

        let mut buffers: Vec<Buffer> = numbers.iter().map(|g| Buffer::of(g)).collect();
        let mut moment = |kind: usize, i: usize| match kind < kept {
            true => moments[kind * LENGTHS.len() + i].pointer(),
            false => Pointer::NULL,
        };
        let parameters: Vec<_> = (0..LENGTHS.len())
            .map(|i| Parameter {
                values: values[i].pointer(),
                gradient: buffers[i].pointer(),
                moments: [moment(0, i), moment(1, i)],
                length: LENGTHS[i],
                decays: DECAYS[i],
            })
            .collect();
        let tables = kernels::tables(&parameters).unwrap();
        let count = tables.runs.len();
        let (mut table, mut runs) = (Buffer::of(&tables.parameters), Buffer::of(&tables.runs));
        let uploaded = Uploaded {
            parameters: table.pointer(),
            runs: runs.pointer(),
            count,
        };
        let mut numbers = Buffer::of(&kernels::step_numbers(&settings, rate, step));
        let mut found = Buffer::poisoned::<f32>(2);
        let mut memory = Memory::new(ScratchSize {
            parts: count,
            counters: 1,
        });
        let mut scale = Pointer::NULL;
        if let Some(limit) = settings.clip_norm {
            scale = found.pointer();
            device
                .run(&[kernels::gradient_norm(uploaded, limit, memory.scratch(), scale).unwrap()]);
            memory.check();
            let norm = expected.gradient_norm.unwrap() as f32;
            assert_close("norm", &found.read::<f32>()[..1], &[norm]);
        }
        for bad in [f32::NAN, f32::INFINITY, 0.5] {
            let mut loss = Buffer::of(&[bad]);
            let before = values[0].read::<f32>();
            let (numbers, loss) = (numbers.pointer(), loss.pointer());
            device.run(&[kernels::step(uploaded, settings.rule, numbers, loss, scale).unwrap()]);
            assert_eq!(values[0].read::<f32>() == before, !bad.is_finite());
        }
        for (i, (found, expected)) in values.iter_mut().zip(&vectors).enumerate() {
            let what = format!("{settings:?}, step {step}, parameter {i}");
            assert_close(&what, &found.read(), &expected.as_vec());
        }
    }
    for (kind, moment) in optimiser.state().moments.iter().enumerate() {
        for (i, expected) in moment.iter().enumerate() {
            let found = moments[kind * LENGTHS.len() + i].read::<f32>();
            assert_close(&format!("moment {kind} of {i}"), &found, expected);
        }
    }
}

#[test]
fn agrees_with_the_cpu() {
    check("optimiser", |device| {
        let mut random = Random::new(10);
        let sgd = |momentum, nesterov| Rule::Sgd { momentum, nesterov };
        let adam = Rule::Adam {
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-4,
        };
        for (rule, decay, clip_norm) in [
            (sgd(0.0, false), WeightDecay::Coupled, None),
            (sgd(0.9, false), WeightDecay::Coupled, Some(5.0)),
            (sgd(0.9, true), WeightDecay::Decoupled, Some(1e6)),
            (adam, WeightDecay::Decoupled, Some(3.0)),
        ] {
            let settings = Settings {
                rule,
                weight_decay: 0.05,
                decay,
                clip_norm,
            };
            one(device, settings, &mut random);
        }
    });
}

#[test]
fn numbers_that_cannot_be_read_by_four_are_refused() {
    let parameter = |values: u64, moment: u64| Parameter {
        values: Pointer(values),
        gradient: Pointer(512),
        moments: [Pointer(moment), Pointer::NULL],
        length: 5,
        decays: true,
    };
    assert!(kernels::tables(&[parameter(256, 768)]).is_ok());
    assert!(kernels::tables(&[parameter(256, 768), parameter(260, 768)]).is_err());
    assert!(kernels::tables(&[parameter(256, 776)]).is_err());
}
