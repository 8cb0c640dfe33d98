//! What is wrong with a file, and where: `path:line:column`, the line itself, what was expected.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One thing that is wrong with a space file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The text of the line.
    pub source: String,
    /// How many characters of it are meant.
    pub width: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it, where something is known.
    pub help: Option<String>,
}

/// All that is wrong with a space file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors {
    /// The file.
    pub path: PathBuf,
    /// Each error, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

impl std::error::Error for Errors {}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, it) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            let margin = it.line.to_string().len();
            writeln!(
                f,
                "{}:{}:{}: {}",
                self.path.display(),
                it.line,
                it.column,
                it.message
            )?;
            writeln!(f, "{:margin$} |", "")?;
            let (source, column) = window(&it.source, it.column);
            writeln!(f, "{} | {source}", it.line)?;
            let marks = "^".repeat(it.width.clamp(1, 80));
            write!(f, "{:margin$} | {:>pad$}{marks}", "", "", pad = column - 1)?;
            if let Some(help) = &it.help {
                write!(f, "\n{:margin$} = {help}", "")?;
            }
        }
        Ok(())
    }
}

/// The longest line that is shown whole.
const LONGEST: usize = 160;

/// A line, or for a long one the part around the column, and the column in what is shown. Tabs count
/// as one character, so they are shown as one.
fn window(line: &str, column: usize) -> (String, usize) {
    let characters: Vec<char> = line
        .chars()
        .map(|it| if it == '\t' { ' ' } else { it })
        .collect();
    if characters.len() <= LONGEST {
        return (characters.into_iter().collect(), column);
    }
    let start = (column - 1)
        .saturating_sub(LONGEST / 2)
        .min(characters.len() - LONGEST);
    let shown = characters[start..start + LONGEST].iter().collect();
    (shown, column - start)
}

/// Collects what is wrong while a file is read.
#[derive(Debug)]
pub(crate) struct Report<'t> {
    text: &'t str,
    found: Vec<(Range<usize>, Diagnostic)>,
}

/// More errors than this say nothing new.
const MOST: usize = 100;

impl<'t> Report<'t> {
    pub fn new(text: &'t str) -> Self {
        Report {
            text,
            found: Vec::new(),
        }
    }

    /// Notes an error at a range of bytes.
    pub fn error(&mut self, span: Range<usize>, message: impl Into<String>, help: Option<String>) {
        if self.is_full() {
            return;
        }
        let boundary = |mut at: usize| {
            at = at.min(self.text.len());
            while !self.text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = boundary(span.start);
        let begin = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let end = self.text[begin..]
            .find('\n')
            .map_or(self.text.len(), |at| begin + at);
        let stop = boundary(span.end).clamp(start, end.max(start));
        let diagnostic = Diagnostic {
            line: self.text[..begin].matches('\n').count() + 1,
            column: self.text[begin..start].chars().count() + 1,
            source: self.text[begin..end].trim_end_matches('\r').to_owned(),
            width: self.text[start..stop].chars().count().max(1),
            message: message.into(),
            help,
        };
        // One place is told once: what follows from an error is not another one.
        if !self
            .found
            .iter()
            .any(|(_, it)| (it.line, it.column) == (diagnostic.line, diagnostic.column))
        {
            self.found.push((span, diagnostic));
        }
    }

    /// Whether so much is wrong that nothing more is noted.
    pub fn is_full(&self) -> bool {
        self.found.len() >= MOST
    }

    /// Whether nothing is wrong so far.
    pub fn is_clean(&self) -> bool {
        self.found.is_empty()
    }

    /// All that is wrong, in the order of the file.
    pub fn errors(mut self, path: &Path) -> Errors {
        self.found.sort_by_key(|(span, _)| span.start);
        Errors {
            path: path.to_owned(),
            diagnostics: self
                .found
                .into_iter()
                .map(|(_, diagnostic)| diagnostic)
                .collect(),
        }
    }
}

/// No name that is known is near a longer one.
const LONGEST_NAME: usize = 200;
/// Among more names than this none is suggested.
const MOST_KNOWN: usize = 2_000;

/// `did you mean 'conv'?`, where a known name is near; otherwise the known names, if they are few.
pub(crate) fn suggest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<String> {
    // A word that is known elsewhere and refused here is no help.
    let mut known: Vec<&str> = known.into_iter().filter(|it| *it != name).collect();
    // Each comparison takes the product of both lengths.
    if name.len() > LONGEST_NAME || known.len() > MOST_KNOWN {
        return None;
    }
    let best = known
        .iter()
        .map(|it| (strsim::damerau_levenshtein(name, it), *it))
        .min_by_key(|(distance, it)| (*distance, it.len()));
    match best {
        Some((distance, nearest)) if distance <= 1 + name.chars().count() / 3 => {
            Some(format!("did you mean '{nearest}'?"))
        }
        Some(_) if known.len() <= 24 => {
            known.sort_unstable();
            known.dedup();
            Some(format!("known here: {}", known.join(", ")))
        }
        _ => None,
    }
}

/// What a name of another framework is called here, and what is not here at all.
pub(crate) fn foreign(name: &str) -> Option<String> {
    let word: String = name.chars().filter(|it| it.is_alphanumeric()).collect();
    let here = match word.to_lowercase().as_str() {
        "silu" => "swish",
        "hardswish" | "hswish" => "hard_swish",
        "hardsigmoid" | "hsigmoid" => "hard_sigmoid",
        "conv2d" | "convolution" | "convolution2d" => "conv",
        "depthwiseconv2d" | "depthwiseconv" => "depthwise",
        "batchnorm" | "batchnorm2d" | "batchnormalization" | "bn" => "batch_norm",
        "maxpool" | "maxpool2d" | "maxpooling2d" => "max_pool",
        "avgpool" | "avgpool2d" | "averagepooling2d" => "avg_pool",
        "adaptiveavgpool2d" | "globalavgpool" | "globalaveragepooling2d" => "global_avg_pool",
        "dense" | "fc" => "linear",
        "droppath" | "stochasticdepth" => "drop_path",
        "outchannels" | "channels" | "outplanes" => "filters",
        "kernelsize" => "kernel",
        "strides" => "stride",
        "outfeatures" => "units",
        "usebias" => "bias",
        "gelu" | "layernorm" | "layernormalization" | "groupnorm" | "instancenorm"
        | "attention" | "multiheadattention" | "elu" | "prelu" => {
            return Some(format!("{name} is not available here"));
        }
        _ => return None,
    };
    Some(format!("it is called '{here}' here"))
}
