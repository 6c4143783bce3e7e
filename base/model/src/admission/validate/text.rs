//! Rules about the spelling of names and paths.

/// Letters, digits, `-` and `_`, 1 to 128 of them.
pub(super) fn is_identifier(text: &str) -> bool {
    is_word(text) || (text.contains('-') && is_word(&text.replace('-', "_")))
}

/// Letters, digits and `_`, 1 to 128 of them.
pub(super) fn is_word(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A DNS label: letters, digits and inner `-`, 1 to 63 of them.
pub(super) fn is_dns_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Dot-separated DNS labels, 253 characters in all.
pub(super) fn is_dns_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

/// Whether the text is filled in where the task runs.
pub(super) fn is_interpolated(text: &str) -> bool {
    text.contains("${")
}

/// `text` with each `${...}` replaced by a letter, to judge the rest of it.
pub(super) fn without_interpolation(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once("${") {
        out.push_str(before);
        match tail.split_once('}') {
            Some((_, after)) => {
                out.push('x');
                rest = after;
            }
            None => {
                rest = "";
                out.push_str("${");
                out.push_str(tail);
            }
        }
    }
    out.push_str(rest);
    out
}

/// Whether a relative path climbs out of the directory that it starts in.
///
/// Interpolated parts count as names: the client checks again where it knows them.
pub(super) fn escapes(path: &str) -> bool {
    let mut depth = 0_i32;
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            return true;
        }
    }
    false
}

/// The path without `.`, empty and climbing parts, to compare with others.
pub(super) fn cleaned(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_climb_out_are_seen() {
        for (path, expected) in [("../../x", true), ("a/../../x", true), ("local/../x", false), ("/abs/x", false)] {
            assert_eq!(escapes(path), expected, "{path}");
        }
        assert_eq!(cleaned("./local//a/../b"), "local/b");
    }

    #[test]
    fn interpolated_parts_of_names_do_not_count() {
        assert!(is_dns_label(&without_interpolation("web-${NOMAD_ALLOC_INDEX}")));
        assert!(!is_dns_label(&without_interpolation("web_${x}")));
    }
}
