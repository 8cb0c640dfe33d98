//! Every published count: parameters to the unit, MACs to three digits.

mod common;

use cellwright_space::Choices;
use common::baseline;

/// File, parameters set, parameters published, MACs published in units of 10^9 (as text, to its
/// last digit).
type Row = (
    &'static str,
    &'static [(&'static str, &'static str)],
    u64,
    Option<&'static str>,
);

/// The public table of torchvision's models, at 224x224 and 1000 classes.
const TORCHVISION: &[Row] = &[
    ("vgg11.toml", &[], 132_863_336, Some("7.61")),
    ("vgg11-bn.toml", &[], 132_868_840, None),
    ("vgg13.toml", &[], 133_047_848, Some("11.31")),
    ("vgg13-bn.toml", &[], 133_053_736, None),
    ("vgg16.toml", &[], 138_357_544, Some("15.47")),
    ("vgg16-bn.toml", &[], 138_365_992, None),
    ("vgg19.toml", &[], 143_667_240, Some("19.63")),
    ("vgg19-bn.toml", &[], 143_678_248, None),
    ("googlenet.toml", &[], 6_624_904, Some("1.498")),
    (
        "googlenet.toml",
        &[("auxiliary", "true")],
        13_004_888,
        Some("1.498"),
    ),
    ("resnet18.toml", &[], 11_689_512, Some("1.814")),
    ("resnet34.toml", &[], 21_797_672, Some("3.664")),
    ("resnet50.toml", &[], 25_557_032, Some("4.089")),
    ("resnet101.toml", &[], 44_549_160, Some("7.801")),
    ("resnet152.toml", &[], 60_192_808, Some("11.51")),
    ("resnext50-32x4d.toml", &[], 25_028_904, Some("4.230")),
    ("wide-resnet50-2.toml", &[], 68_883_240, Some("11.40")),
    ("densenet121.toml", &[], 7_978_856, Some("2.834")),
    ("squeezenet1-0.toml", &[], 1_248_424, Some("0.819")),
    ("mobilenet-v2.toml", &[], 3_504_872, Some("0.301")),
];

/// Other public implementations and papers, each at its file's own size.
const OTHERS: &[Row] = &[
    ("se-resnet50.toml", &[], 28_088_024, None),
    ("nasnet-a-large.toml", &[], 88_753_150, None),
    ("nasnet-a-mobile.toml", &[], 5_289_978, None),
    ("nin.toml", &[], 966_986, None),
    ("wrn-28-10.toml", &[], 36_479_194, None),
    ("densenet-bc-cifar.toml", &[], 769_162, None),
    ("resnet20-cifar.toml", &[], 269_722, None),
    ("fractalnet.toml", &[], 33_724_618, None),
];

#[test]
fn torchvision() {
    check(TORCHVISION);
}

#[test]
fn other_implementations() {
    check(OTHERS);
}

#[test]
fn nasnet_a_for_cifar() {
    assert_eq!(
        common::graph(&common::space("nasnet-a.toml", &[]), &Default::default()).params(),
        3_328_234
    );
}

/// The network that the authors of DARTS found (`DARTS_V2` of their code), without its auxiliary
/// classifier: 3.3 M in the paper.
#[test]
fn darts_for_cifar() {
    let (normal, reduction) = (
        [0, 3, 3, 0, 3, 3, 0, 2, 3, 1, 2, 5],
        [0, 0, 0, 2, 0, 2, 1, 0, 2, 4, 0, 2],
    );
    let choices = Choices([normal, reduction].concat());
    let graph = common::graph(&common::space("darts.toml", &[]), &choices);
    assert_eq!(graph.params(), 3_349_342);
}

/// PNASNet-5 for CIFAR-10, its cell as in the authors' code: 3.2 M in the paper.
#[test]
fn pnasnet_5_for_cifar() {
    let choices = Choices(vec![
        0, 0, 1, 6, 1, 1, 2, 6, 1, 1, 1, 0, 4, 1, 0, 6, 0, 1, 0, 4,
    ]);
    let graph = common::graph(&common::space("pnas.toml", &[]), &choices);
    assert_eq!(graph.params(), 3_176_602);
}

/// Networks without an exact published count, counted a second way: by formulas over their stages.
#[test]
fn by_formula() {
    let params =
        |file: &str, set: &[(&str, &str)]| baseline(&format!("baselines/{file}"), set).params();
    assert_eq!(params("fractalnet.toml", &[]), fractalnet());
    assert_eq!(
        params("stochastic-depth-resnet110.toml", &[]),
        cifar_resnet(18)
    );
    assert_eq!(
        params("resnet20-cifar.toml", &[("depth", "18")]),
        cifar_resnet(18)
    );
    for (plain, resnet) in PLAIN {
        let projections = params(resnet, &[]) - params(plain, &[]);
        let expected: u64 = projections_of(plain);
        assert_eq!(projections, expected, "{plain}");
        assert_eq!(
            params(resnet, &[("skip", "false")]),
            params(plain, &[]),
            "{plain}"
        );
    }
}

const PLAIN: [(&str, &str); 5] = [
    ("plain18.toml", "resnet18.toml"),
    ("plain34.toml", "resnet34.toml"),
    ("plain50.toml", "resnet50.toml"),
    ("plain101.toml", "resnet101.toml"),
    ("plain152.toml", "resnet152.toml"),
];

/// The 1x1 convolutions, with batch norm, that a plain network lacks.
fn projections_of(plain: &str) -> u64 {
    let basic: &[(u64, u64)] = &[(64, 128), (128, 256), (256, 512)];
    let bottleneck: &[(u64, u64)] = &[(64, 256), (256, 512), (512, 1024), (1024, 2048)];
    let of_basic = plain.contains("18") || plain.contains("34");
    let pairs = if of_basic { basic } else { bottleneck };
    pairs.iter().map(|(from, to)| from * to + 2 * to).sum()
}

/// In a block of 3 columns 3 convolutions see its input, and 4 see another's output.
fn fractalnet() -> u64 {
    let mut channels = 3;
    let mut sum = 512 * 10 + 10;
    for filters in [64, 128, 256, 512, 512] {
        sum += 9 * filters * (3 * channels + 4 * filters) + 7 * 2 * filters;
        channels = filters;
    }
    sum
}

/// 6n + 2 layers of 16, 32 and 64 filters, shortcuts without parameters.
fn cifar_resnet(n: u64) -> u64 {
    let conv_bn = |from: u64, to: u64| 9 * from * to + 2 * to;
    let stage = |from, to| conv_bn(from, to) + (2 * n - 1) * conv_bn(to, to);
    conv_bn(3, 16) + stage(16, 16) + stage(16, 32) + stage(32, 64) + 650
}

fn check(rows: &[Row]) {
    let wrong: Vec<String> = rows.iter().filter_map(differs).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn differs((file, set, params, macs): &Row) -> Option<String> {
    let graph = baseline(&format!("baselines/{file}"), set);
    let digits = macs.map_or(0, |macs| macs.len() - macs.find('.').unwrap_or(0) - 1);
    let rounded = format!("{:.digits$}", graph.macs() as f64 / 1e9);
    let same = graph.params() == *params && macs.is_none_or(|macs| macs == rounded);
    (!same).then(|| {
        format!(
            "{file}: {} parameters, {rounded} G MACs; published {params}, {macs:?}",
            graph.params()
        )
    })
}
