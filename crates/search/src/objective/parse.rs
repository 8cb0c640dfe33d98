//! Targets and limits as text: `macs=20M`, `latency=5ms:0:-1`, `params=1M`.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::{Cost, Limit, Target};

/// MnasNet's exponent, on both sides of the target.
const SOFT: f64 = -0.07;
/// The exponents of MnasNet's hard variant, below and above the target.
const HARD: (f64, f64) = (0.0, -1.0);

/// Reads a cost's amount from a file: a finite number above 0.
pub(super) fn amount<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    check_amount(f64::deserialize(from)?).map_err(D::Error::custom)
}

/// Reads an exponent from a file: a finite number, at most 0.
pub(super) fn exponent<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    check_exponent(f64::deserialize(from)?).map_err(D::Error::custom)
}

fn check_amount(value: f64) -> Result<f64, String> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(format!(
            "{value} is no cost to aim at: write a number above 0"
        ))
    }
}

fn check_exponent(value: f64) -> Result<f64, String> {
    if value.is_finite() && value <= 0.0 {
        Ok(value)
    } else {
        Err(format!(
            "the exponent {value} would reward what costs more: write 0 or less, such as {SOFT}"
        ))
    }
}

impl Cost {
    /// An amount with its unit, exact.
    pub(super) fn amount(self, value: f64) -> String {
        match self {
            Cost::Macs => format!("{value} MACs ({} FLOPs)", 2.0 * value),
            Cost::Params => format!("{value} parameters"),
            Cost::LatencyMs => format!("{value:.3} ms an image"),
        }
    }

    /// Splits `COST=VALUE…` and reads the cost.
    fn split(text: &str) -> Result<(Self, &str), String> {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| format!("expected COST=VALUE, such as macs=20M, and found '{text}'"))?;
        let cost = match name.trim() {
            "macs" => Cost::Macs,
            "params" => Cost::Params,
            "latency" | "latency_ms" => Cost::LatencyMs,
            other => {
                return Err(format!(
                    "there is no cost '{other}'; there are: macs, params, latency"
                ));
            }
        };
        Ok((cost, value.trim()))
    }

    /// Reads an amount: a count with k, M or G behind it, or milliseconds with or without `ms`.
    fn read(self, text: &str) -> Result<f64, String> {
        let units: &[(&str, f64)] = match self {
            Cost::LatencyMs => &[("ms", 1.0)],
            Cost::Macs | Cost::Params => &[("k", 1e3), ("M", 1e6), ("G", 1e9)],
        };
        let (number, unit) = units
            .iter()
            .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))
            .unwrap_or((text, 1.0));
        let value: f64 = number.trim().parse().map_err(|_| {
            let example = match self {
                Cost::LatencyMs => "milliseconds, such as 5ms",
                Cost::Macs | Cost::Params => "a count, such as 20M or 300k",
            };
            format!("'{text}' is not {example}")
        })?;
        check_amount(value * unit)
    }
}

impl FromStr for Target {
    type Err = String;

    /// Reads `COST=VALUE`, then nothing (MnasNet's soft constraint), `:hard`, one exponent for both sides, or
    /// two, below and above.
    fn from_str(text: &str) -> Result<Self, String> {
        let (cost, value) = Cost::split(text)?;
        let mut parts = value.split(':').map(str::trim);
        let at = cost.read(parts.next().unwrap_or_default())?;
        let number = |text: &str| {
            let number = text.parse().map_err(|_| {
                format!("'{text}' is not an exponent such as {SOFT}, nor the word hard")
            })?;
            check_exponent(number)
        };
        let (below, above) = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => (SOFT, SOFT),
            (Some("hard"), None, _) => HARD,
            (Some(both), None, _) => (number(both)?, number(both)?),
            (Some(below), Some(above), None) => (number(below)?, number(above)?),
            _ => {
                return Err(format!(
                    "too many exponents in '{text}': write one, or two for below and above"
                ));
            }
        };
        Ok(Target {
            cost,
            at,
            below,
            above,
        })
    }
}

impl FromStr for Limit {
    type Err = String;

    /// Reads `COST=VALUE`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (cost, value) = Cost::split(text)?;
        Ok(Limit {
            cost,
            at_most: cost.read(value)?,
        })
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cost::Macs => "macs",
            Cost::Params => "params",
            Cost::LatencyMs => "latency",
        })
    }
}

impl fmt::Display for Target {
    /// The factor as a formula: `(macs / 20000000)^-0.07`; latency in ms.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.cost;
        if self.below == self.above {
            write!(f, "({name} / {})^{}", self.at, self.below)
        } else {
            write!(
                f,
                "({name} / {})^({} below, {} above)",
                self.at, self.below, self.above
            )
        }
    }
}
