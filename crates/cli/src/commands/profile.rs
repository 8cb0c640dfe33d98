//! `cellwright profile`: how long a training step takes.

use anyhow::Result;
use cellwright_search::run::{DeviceSpec, Precision};
use serde::Serialize;

use crate::options::{DeviceFlag, ImageFlags, PrecisionFlag, SpaceFlags, Which, check_precision};
use crate::output::{print, print_json, short, thousands};

/// Flags of `profile`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    space: SpaceFlags,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    images: ImageFlags,
    /// Images of a step
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch: u32,
    /// Steps that are timed
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    steps: u32,
    #[command(flatten)]
    device: DeviceFlag,
    #[command(flatten)]
    precision: PrecisionFlag,
    /// Threads (default: the machine's cores)
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    name: String,
    device: DeviceSpec,
    /// What is computed in.
    precision: Precision,
    threads: usize,
    params: u64,
    macs: u64,
    #[serde(flatten)]
    profile: cellwright_train::Profile,
}

/// Times one architecture.
pub fn run(args: Args) -> Result<()> {
    let space = args.space.source()?.space()?;
    let choices = args.which.choices(&space)?;
    let graph = args.images.graph(&space, &choices)?;
    let device = args.device.resolve();
    let precision = args.precision.over(Precision::default());
    check_precision(precision, device)?;
    cellwright_ops::threads::set_threads(args.threads.unwrap_or(0) as usize)?;
    let (batch, steps) = (args.batch as usize, args.steps as usize);
    let report = Report {
        name: space.name().to_owned(),
        device,
        precision: match device {
            DeviceSpec::Cpu => Precision::Fp32,
            DeviceSpec::Cuda(_) => precision,
        },
        threads: cellwright_ops::threads::threads(),
        params: graph.params(),
        macs: graph.macs(),
        profile: cellwright_search::evaluator::profile(&graph, batch, steps, device, precision)?,
    };
    if args.json {
        print_json(&report)
    } else {
        show(&report)
    }
}

fn show(report: &Report) -> Result<()> {
    let profile = &report.profile;
    let parts = profile
        .forward_ms
        .zip(profile.backward_ms)
        .zip(profile.update_ms);
    let parts = parts.map_or(String::new(), |((forward, backward), update)| {
        format!(" (forward {forward:.1}, backward {backward:.1}, update {update:.1})")
    });
    print(format!(
        "{} on {} in {} with {} threads, batch {}, medians of {} steps\n  parameters  {}\n  MACs        {} an image\n  step        \
         {:.1} ms{parts}, {:.0} images/s\n  inference   {:.1} ms, {:.0} images/s",
        report.name,
        report.device,
        report.precision,
        report.threads,
        profile.batch,
        profile.steps,
        thousands(report.params),
        short(report.macs),
        profile.step_ms,
        profile.images_per_second,
        profile.evaluate_ms,
        profile.evaluate_images_per_second,
    ))?;
    match profile.peak_bytes {
        Some(bytes) => print(format!("  memory      {}B at most", short(bytes))),
        None => Ok(()),
    }
}
