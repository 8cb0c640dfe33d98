//! How results and errors are shown.

use std::io::Write;

use anyhow::{Context, Result};
use comfy_table::Table;
use serde::Serialize;

/// A wrong use of the command: exit code 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Nobody reads any more what is printed, which ends a command quietly.
#[derive(Debug)]
pub struct ReaderGone;

impl std::fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nobody reads standard output")
    }
}

impl std::error::Error for ReaderGone {}

/// Tells an error with its causes on stderr.
pub fn error(error: &anyhow::Error) {
    let text = causes(error).join("\n  because: ");
    let _ = writeln!(std::io::stderr(), "error: {text}");
}

/// An error with its causes on one line.
pub fn line(error: &anyhow::Error) -> String {
    causes(error).join(": ")
}

/// An error and its causes in words. Most of our errors name their cause themselves, since a table keeps their
/// text alone: what has been told is not told again.
fn causes(error: &anyhow::Error) -> Vec<String> {
    let mut told = Vec::<String>::new();
    for cause in error.chain().map(ToString::to_string) {
        if told.last().is_none_or(|last| !last.contains(&cause)) {
            told.push(cause);
        }
    }
    told
}

/// Tells what is odd but does not stop anything.
pub fn warn(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "warning: {text}");
}

/// Tells the user something that is not a result.
pub fn note(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// 2 for a wrong use, 1 for everything else.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<Usage>() { 2 } else { 1 }
}

/// Prints text and a line end on stdout.
///
/// # Errors
/// [`ReaderGone`] where the reader has gone away.
pub fn print(text: impl std::fmt::Display) -> Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(ReaderGone.into()),
        result => result.context("cannot write to standard output"),
    }
}

/// Prints one JSON value on a line.
///
/// # Errors
/// As [`print()`].
pub fn print_json(value: &impl Serialize) -> Result<()> {
    print(serde_json::to_string(value)?)
}

/// A number with a separator between thousands: 3,328,234.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count in the unit that suits it: 8.81 M.
pub fn short(number: u64) -> String {
    let number = number as f64;
    match number {
        n if n >= 1e9 => format!("{:.2} G", n / 1e9),
        n if n >= 1e6 => format!("{:.2} M", n / 1e6),
        n if n >= 1e3 => format!("{:.1} k", n / 1e3),
        n => format!("{n}"),
    }
}

/// A plain table: no lines but one under the head.
pub fn table(head: &[&str]) -> Table {
    use comfy_table::{LineStyle, TableStyle};
    let line = LineStyle::none().fill('─').junction('─');
    let mut table = Table::new();
    table
        .load_style(TableStyle::new().header_separator(line))
        .set_header(head);
    table
}

/// The table with the longest names, of those that `build` makes of a name's most characters, that fits the terminal:
/// where not even short names do, its columns come closer, and then the `least` needed ones go, the first one first.
/// That with names of 48 where there is no terminal.
pub fn fitting(least: &[usize], build: impl Fn(usize) -> Table) -> Table {
    within(terminal(), least, build)
}

/// A table that stands as it is where it fits the terminal; else with a row for each of its cells, named by the first
/// `keys` columns and the cell's heading.
pub fn unfolding(keys: usize, table: Table) -> Table {
    unfolded(terminal(), keys, table)
}

/// The columns of the terminal; none where the output goes elsewhere.
fn terminal() -> Option<usize> {
    let terminal = console::Term::stdout();
    let size = terminal.size_checked().filter(|_| terminal.is_term());
    size.map(|(_, columns)| columns.into())
}

/// The longest and the shortest that a name is cut to.
const NAMES: (usize, usize) = (48, 10);

fn within(columns: Option<usize>, least: &[usize], build: impl Fn(usize) -> Table) -> Table {
    let layout = |tight: bool, hidden: usize, names: usize| {
        let mut table = build(names);
        for &column in &least[..hidden] {
            hide(&mut table, column);
        }
        spaced(table, tight)
    };
    let layouts = (0..=least.len()).map(|hidden| (true, hidden));
    let (tight, hidden) = std::iter::once((false, 0))
        .chain(layouts)
        .find(|&(tight, hidden)| fits(&layout(tight, hidden, NAMES.1), columns))
        .unwrap_or((true, least.len()));
    (NAMES.1..=NAMES.0)
        .rev()
        .map(|names| layout(tight, hidden, names))
        .find(|table| fits(table, columns))
        .unwrap_or_else(|| layout(tight, hidden, NAMES.1))
}

fn unfolded(columns: Option<usize>, keys: usize, table: Table) -> Table {
    let wide = spaced(table, false);
    if fits(&wide, columns) {
        return wide;
    }
    let cells = |row: &comfy_table::Row| -> Vec<String> {
        row.cell_iter().map(comfy_table::Cell::content).collect()
    };
    let heads = wide.header().map(cells).unwrap_or_default();
    let keys = keys.min(heads.len());
    let named = heads[..keys].iter().map(String::as_str);
    let mut long = self::table(&named.chain(["", ""]).collect::<Vec<_>>());
    for row in wide.row_iter().map(cells) {
        for (head, value) in heads.iter().zip(&row).skip(keys) {
            long.add_row(row[..keys].iter().chain([head, value]));
        }
    }
    right(&mut long, &[keys + 1]);
    spaced(long, true)
}

fn fits(table: &Table, columns: Option<usize>) -> bool {
    let widths = || table.lines().map(|line| console::measure_text_width(&line));
    columns.is_none_or(|columns| widths().max().unwrap_or(0) <= columns)
}

/// A table without room behind its last column; a tight one has a space less between columns, and none before the first.
fn spaced(mut table: Table, tight: bool) -> Table {
    let last = table.column_iter().rposition(|it| !it.is_hidden());
    for (index, column) in table.column_iter_mut().enumerate() {
        let behind = if Some(index) == last { 0 } else { 1 };
        column.set_padding((if tight { 0 } else { 1 }, behind));
    }
    table
}

/// Leaves a column out.
pub fn hide(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_constraint(comfy_table::ColumnConstraint::Hidden);
    }
}

/// A text of at most so many characters, the last one an ellipsis where more were there.
pub fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(most - 1).collect();
    cut.push('…');
    cut
}

/// Columns to the right, for numbers.
pub fn right(table: &mut Table, columns: &[usize]) {
    for &column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_the_longest_names_that_fit() {
        let name = "a name of thirty-two characters…";
        let build = |most: usize| {
            let mut table = table(&["name", "number"]);
            table.add_row([cut(name, most), "1".to_owned()]);
            table
        };
        let width = |columns| {
            let table = within(columns, &[], build);
            let lines = table.lines().map(|it| it.chars().count());
            lines.max().unwrap()
        };
        let all = width(None);
        assert!(all > 32);
        assert_eq!(width(Some(all)), all);
        assert_eq!(width(Some(all - 5)), all - 5);
        // What is too narrow for any name is exceeded, with two spaces less.
        assert_eq!(width(Some(3)), all - 24);
        assert_eq!(cut("abcd", 4), "abcd");
        assert_eq!(cut("abcde", 4), "abc…");
    }

    #[test]
    fn what_is_too_wide_loses_its_least_needed_columns() {
        let build = |most: usize| {
            let mut table = table(&["name", "seconds", "accuracy", "MACs"]);
            table.add_row([&cut(&"n".repeat(40), most), "1.0", "80.00", "1.00 M"]);
            table
        };
        let text = |columns| within(columns, &[1, 3], build).to_string();
        let all = text(None);
        assert!(all.contains(&"n".repeat(40)) && all.contains("MACs"));
        assert!(all.lines().all(|line| line.starts_with([' ', '─'])));
        let ends = all.lines().map(|it| it.chars().count());
        assert_eq!(
            ends.max(),
            Some(" name   seconds   accuracy     MACs".len() + 36)
        );
        let narrow = text(Some(38));
        assert!(narrow.starts_with("name") && narrow.contains("seconds"));
        let narrow = text(Some(30));
        assert!(narrow.contains("MACs") && !narrow.contains("seconds"));
        let narrow = text(Some(20));
        assert!(narrow.contains("nnn…  ") && !narrow.contains("MACs"));
    }

    #[test]
    fn what_is_much_too_wide_has_a_row_for_each_number() {
        let build = || {
            let mut table = table(&["strategy", "one column", "another"]);
            table.add_row(["random", "1.5 ± 0.5", "2.5"]);
            table
        };
        let wide = unfolded(None, 1, build()).to_string();
        assert_eq!(wide.lines().count(), 3, "{wide}");
        let long = unfolded(Some(30), 1, build()).to_string();
        let rows: Vec<&str> = long.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "random    one column  1.5 ± 0.5",
                "random    another           2.5"
            ]
        );
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(thousands(3_328_234), "3,328,234");
        assert_eq!(thousands(12), "12");
        assert_eq!(thousands(0), "0");
        assert_eq!(short(8_812_345), "8.81 M");
        assert_eq!(short(999), "999");
    }

    #[test]
    fn a_cause_that_was_told_is_not_told_again() {
        let cause = std::io::Error::other("no room");
        let wrong = anyhow::Error::new(cause).context("cannot write: no room");
        assert_eq!(line(&wrong), "cannot write: no room");
        assert_eq!(
            line(&wrong.context("no report")),
            "no report: cannot write: no room"
        );
    }
}
