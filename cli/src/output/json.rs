//! JSON for programs that read our output.

use anyhow::Context as _;
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

/// `value` as JSON, indented by four spaces, with a line end.
pub(crate) fn to_json(value: &impl Serialize) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"    "));
    let unit = value.serialize(&mut serializer);
    unit.context("cannot write the result as JSON")?;
    let mut text = String::from_utf8(bytes).context("cannot write the result as JSON")?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_by_four_spaces() {
        assert_eq!(to_json(&serde_json::json!({"a": [1]})).unwrap(), "{\n    \"a\": [\n        1\n    ]\n}\n");
    }
}
