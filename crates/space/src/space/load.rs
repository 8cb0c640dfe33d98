//! From a file's text to a space, or to all that is wrong with it.

use std::path::Path;
use std::sync::Arc;

use toml::de::DeTable;

use super::{Decision, Inner, Space, plain};
use crate::diagnostic::Report;
use crate::discover::{Found, discover};
use crate::notation::template;
use crate::program::Program;
use crate::require::{never, uncountable};
use crate::resolve::resolve;
use crate::{Choices, Errors, Vocabulary};

/// A file larger than this is no space file.
const LARGEST_FILE: usize = 1 << 20;

impl Space {
    /// Reads and checks a space file.
    ///
    /// # Errors
    /// All that is wrong with it, each with its place; also that it cannot be read.
    pub fn load(
        path: &Path,
        overrides: &[(String, String)],
        vocabulary: &Vocabulary,
    ) -> Result<Self, Errors> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path, overrides, vocabulary),
            Err(error) => Err(plain(path, format!("cannot be read: {error}"))),
        }
    }

    /// Parses and checks a space file's text. `path` is for errors; `overrides` set parameters.
    ///
    /// # Errors
    /// All that is wrong with it, each with its place.
    pub fn parse(
        text: &str,
        path: &Path,
        overrides: &[(String, String)],
        vocabulary: &Vocabulary,
    ) -> Result<Self, Errors> {
        if text.len() > LARGEST_FILE {
            return Err(plain(
                path,
                format!("a space file has at most {LARGEST_FILE} bytes"),
            ));
        }
        let mut report = Report::new(text);
        if let Some(at) = crate::nesting::too_deep(text) {
            report.error(at..at + 1, "this is nested too deeply", None);
            return Err(report.errors(path));
        }
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            report.error(error.span().unwrap_or(0..0), error.message(), None);
        }
        if !report.is_clean() {
            return Err(report.errors(path));
        }
        let (header, program) = resolve(document.get_ref(), overrides, vocabulary, &mut report);
        if !report.is_clean() {
            return Err(report.errors(path));
        }
        let found = discover(&program, &mut report);
        if let Some((name, span)) = uncountable(&program, &found) {
            let message = format!(
                "`require` counts decision '{name}', whose options must then be whole numbers, true or false"
            );
            report.error(span, message, None);
        }
        for (condition, span) in &program.require {
            if let Some(message) = never(condition) {
                report.error(span.clone(), message, None);
            }
        }
        let names: Vec<&str> = found.list.iter().map(|it| it.name.as_str()).collect();
        let mut parts = None;
        if let Some((notation, span)) = &header.notation {
            match template(notation, &names) {
                Ok(found) => parts = Some(found),
                Err(message) => report.error(span.clone(), message, None),
            }
        }
        if !report.is_clean() {
            return Err(report.errors(path));
        }
        let decisions = found.list.iter().map(|it| decision(it, &program)).collect();
        let inner = Inner {
            path: path.to_owned(),
            text: text.to_owned(),
            vocabulary: vocabulary.clone(),
            header,
            program,
            found,
            decisions,
            template: parts,
            first: Choices::default(),
        };
        Space(Arc::new(inner)).with_first()
    }

    /// Finds the first architecture, to know that there is one.
    fn with_first(mut self) -> Result<Self, Errors> {
        let first = self.find_first();
        match (first, Arc::get_mut(&mut self.0)) {
            (Some(first), Some(inner)) => {
                inner.first = first;
                Ok(self)
            }
            _ => {
                let (path, text) = (self.0.path.clone(), self.0.text.clone());
                let (span, message) = self.why_none();
                let mut report = Report::new(&text);
                report.error(span, message, None);
                Err(report.errors(&path))
            }
        }
    }
}

fn decision(found: &Found, program: &Program) -> Decision {
    let free = found.guards.is_empty() && found.option_guards.iter().all(Vec::is_empty);
    let required = program.required_names.contains(&found.word);
    Decision {
        name: found.name.clone(),
        options: found.labels.clone(),
        unconditional: free && (program.require.is_empty() || !required),
    }
}
