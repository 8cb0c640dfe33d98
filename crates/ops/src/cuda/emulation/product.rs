//! Products of tall matrices.

use super::columns::Memory;
use super::{Buffer, assert_within, check, on_top, target};
use crate::cuda::kernels::product::{
    product, suits_product, suits_weight_gradient, weight_gradient, weight_gradient_scratch,
};
use crate::testing::Random;

#[test]
fn agree_with_the_sums() {
    assert!(suits_product([65_536, 48, 16]) && !suits_product([64, 1024, 12]));
    assert!(!suits_product([4096, 18, 16]) && !suits_product([4096, 16, 32]));
    assert!(suits_weight_gradient([65_536, 16, 48]) && !suits_weight_gradient([4096, 512, 512]));
    check("product", |device| {
        let mut random = Random::new(21);
        for [rows, m, n] in [[2100, 16, 48], [300, 33, 5], [7, 1, 70], [2048, 40, 32]] {
            let (a, b) = (random.values(rows * m), random.values(rows * n));
            let mut expected = vec![0.0f64; m * n];
            for row in 0..rows {
                for i in 0..m {
                    for j in 0..n {
                        expected[i * n + j] +=
                            f64::from(a[row * m + i]) * f64::from(b[row * n + j]);
                    }
                }
            }
            let expected: Vec<f32> = expected.iter().map(|&it| it as f32).collect();
            let old = random.values(m * n);
            let old = random.flip().then_some(&old[..]);
            let (mut a, mut b, mut c) = (Buffer::of(&a), Buffer::of(&b), target(old, m * n));
            let mut memory = Memory::new(weight_gradient_scratch([rows, m, n]));
            let launches = weight_gradient(
                [rows, m, n],
                a.pointer(),
                b.pointer(),
                memory.scratch(),
                c.pointer(),
                old.is_some(),
            );
            device.run(&launches.unwrap());
            memory.check();
            assert_within(
                3e-3,
                &format!("{rows} rows, {m} x {n}"),
                &c.read(),
                &on_top(old, &expected),
            );
        }
        for [rows, k, n] in [[2100, 16, 48], [130, 100, 68], [7, 4, 12], [64, 32, 64]] {
            for transposed in [false, true] {
                let (x, w) = (random.values(rows * k), random.values(k * n));
                let at = |l: usize, j: usize| w[if transposed { j * k + l } else { l * n + j }];
                let terms = |row: usize, j: usize| {
                    let terms = (0..k).map(|l| f64::from(x[row * k + l]) * f64::from(at(l, j)));
                    terms.sum::<f64>() as f32
                };
                let expected: Vec<f32> = (0..rows * n).map(|it| terms(it / n, it % n)).collect();
                let old = random.values(rows * n);
                let old = random.flip().then_some(&old[..]);
                let (mut bx, mut bw) = (Buffer::of(&x), Buffer::of(&w));
                let mut y = target(old, rows * n);
                let (size, add) = ([rows, k, n], old.is_some());
                let launch = product(
                    size,
                    bx.pointer(),
                    bw.pointer(),
                    transposed,
                    y.pointer(),
                    add,
                );
                device.run(&[launch.unwrap()]);
                let what = format!("{rows} rows, {k} x {n}, transposed {transposed}");
                assert_within(3e-3, &what, &y.read(), &on_top(old, &expected));
            }
        }
    });
}
