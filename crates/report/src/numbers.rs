//! How numbers read in charts and tables.

/// A count with a unit prefix and three digits: `3.33 M`, `21.1 G`, `640`.
pub(crate) fn short(value: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    // What would round to 1000 of a unit is 1 of the next.
    let Some((unit, prefix)) = UNITS.iter().find(|(unit, _)| value >= unit * 0.9995) else {
        return format!("{value:.0}");
    };
    let scaled = value / unit;
    let digits = if scaled < 9.995 {
        2
    } else if scaled < 99.95 {
        1
    } else {
        0
    };
    format!("{scaled:.digits$} {prefix}")
}

/// A round count without needless digits: `500 k`, `2 M`.
pub(crate) fn round(value: f64) -> String {
    let text = short(value);
    match text.split_once(' ') {
        Some((number, prefix)) if number.contains('.') => {
            format!(
                "{} {prefix}",
                number.trim_end_matches('0').trim_end_matches('.')
            )
        }
        _ => text,
    }
}

/// A fraction as a percentage with two digits after the point.
pub(crate) fn percent(fraction: f64) -> String {
    format!("{:.2} %", fraction * 100.0)
}

/// A fraction at a tick: as many digits as it needs.
pub(crate) fn percent_tick(fraction: f64) -> String {
    let hundredths = (fraction * 1e4).round() / 100.0;
    format!("{hundredths} %")
}

/// A number at a tick: as many digits as it needs.
pub(crate) fn tick(value: f64) -> String {
    if value.abs() >= 1e4 {
        return round(value);
    }
    let rounded = (value * 1e6).round() / 1e6;
    // No minus before a zero.
    format!("{}", rounded + 0.0)
}

/// A count with its noun: `1 epoch`, `2 epochs`.
pub(crate) fn counted(count: impl Into<u64>, noun: &str) -> String {
    match count.into() {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

/// Seconds, or minutes and hours where there are many.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match whole / 3600 {
        0 => format!("{} min {:02} s", whole / 60, whole % 60),
        hours => format!("{hours} h {:02} min", whole / 60 % 60),
    }
}

/// Mean of some values; none where there are none.
pub(crate) fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values
        .into_iter()
        .fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        for (value, text) in [
            (640.0, "640"),
            (999.6, "1.00 k"),
            (3_328_234.0, "3.33 M"),
            (999_999.0, "1.00 M"),
            (21.1e9, "21.1 G"),
            (138_357_544.0, "138 M"),
        ] {
            assert_eq!(short(value), text);
        }
        assert_eq!(round(5e5), "500 k");
        assert_eq!(round(2e6), "2 M");
        assert_eq!(round(2.5e6), "2.5 M");
    }

    #[test]
    fn fractions_ticks_and_times() {
        assert_eq!(percent(0.91234), "91.23 %");
        assert_eq!(percent_tick(0.9), "90 %");
        assert_eq!(percent_tick(0.925), "92.5 %");
        assert_eq!(tick(-0.0), "0");
        assert_eq!(tick(0.1 + 0.2), "0.3");
        assert_eq!(duration(4.25), "4.2 s");
        assert_eq!(duration(599.6), "10 min 00 s");
        assert_eq!(duration(7265.0), "2 h 01 min");
        assert_eq!(mean([]), None);
        assert_eq!(counted(1u32, "epoch"), "1 epoch");
        assert_eq!(counted(0u32, "epoch"), "0 epochs");
        assert_eq!(mean([1.0, 2.0]), Some(1.5));
    }
}
