//! How deeply a file nests: told before it is parsed, since a parser's stack is bounded.

/// Deeper lists, tables and dotted keys are refused.
const DEPTH: usize = 64;

/// The place of the first bracket or dotted key that is nested too deeply. Texts and comments are skipped.
pub(crate) fn too_deep(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut dots) = (0, 0usize, 0usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'#' => at += until(&bytes[at..], b"\n", false),
            b'"' | b'\'' => {
                let escapes = *byte == b'"';
                let one = std::slice::from_ref(byte);
                let three = [*byte; 3];
                if bytes[at..].starts_with(&three) {
                    at += 3;
                    at += until(&bytes[at..], &three, escapes) + 2;
                } else {
                    at += 1;
                    at += until(&bytes[at..], one, escapes);
                }
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'.' => dots += 1,
            b'=' | b'\n' | b',' => dots = 0,
            _ => {}
        }
        if depth > DEPTH || dots > DEPTH {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// How far it is to an end: of a text on one line, at the line's end at the latest.
fn until(bytes: &[u8], end: &[u8], escapes: bool) -> usize {
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(end) || (end.len() == 1 && bytes[at] == b'\n') {
            return at;
        }
        at += if escapes && bytes[at] == b'\\' { 2 } else { 1 };
    }
    at
}
