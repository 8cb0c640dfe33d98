//! Transposition.

use super::{Buffer, assert_close, check};
use crate::cuda::kernels::transpose::{transpose, transpose_gradient};
use crate::testing::Random;

#[test]
fn rows_become_columns() {
    check("transpose", |device| {
        let mut random = Random::new(12);
        for _ in 0..4 {
            let (rows, columns) = (random.within(1, 70), random.within(1, 70));
            let numbers = random.values(rows * columns);
            let places = (0..columns).flat_map(|c| (0..rows).map(move |r| r * columns + c));
            let expected: Vec<f32> = places.map(|place| numbers[place]).collect();
            for launch in [transpose, transpose_gradient] {
                let (mut x, mut y) = (
                    Buffer::of(&numbers),
                    Buffer::poisoned::<f32>(rows * columns),
                );
                device.run(&[launch(x.pointer(), y.pointer(), rows, columns).unwrap()]);
                assert_close(&format!("{rows} × {columns}"), &y.read(), &expected);
            }
        }
    });
}
