//! How a run is named in a command.

use std::path::Path;

/// A path as it is written in a command for a shell.
#[must_use]
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |it: char| it.is_alphanumeric() || "/._-+:@%,=".contains(it);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_commands_are_quoted_where_a_shell_needs_it() {
        let written = |path: &str| quoted(path.as_ref());
        assert_eq!(written("results/nasnet-1"), "results/nasnet-1");
        assert_eq!(written("r u n"), "'r u n'");
        assert_eq!(written("it's"), r"'it'\''s'");
    }
}
