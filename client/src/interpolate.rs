//! `${name}` in texts of a job, replaced by what the node and the task know.

use std::collections::BTreeMap;

use serde_json::Value;

/// The names that a text may mention.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    /// The task's environment.
    pub(crate) env: BTreeMap<String, String>,
    /// `node.*`, `attr.*` and `meta.*`.
    pub(crate) node: BTreeMap<String, String>,
}

impl Names {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.env.get(name).or_else(|| self.node.get(name)).or_else(|| {
            let quoted = name.strip_prefix("env[\"").and_then(|rest| rest.strip_suffix("\"]"));
            self.env.get(quoted.or_else(|| name.strip_prefix("env."))?)
        });
        found.map(String::as_str)
    }

    /// `text` with the names that are known replaced; others stay as they stand.
    pub(crate) fn fill(&self, text: &str) -> String {
        let mut unknown = Vec::new();
        self.replace(text, &mut unknown)
    }

    /// A driver's configuration with every name replaced, or the names that nobody knows.
    pub(crate) fn fill_config(
        &self,
        config: &BTreeMap<String, Value>,
    ) -> Result<BTreeMap<String, Value>, UnknownNames> {
        let mut unknown = Vec::new();
        let filled = config.iter().map(|(key, value)| (key.clone(), self.fill_value(value, &mut unknown))).collect();
        if unknown.is_empty() { Ok(filled) } else { Err(UnknownNames { names: unknown.join(", ") }) }
    }

    fn fill_value(&self, value: &Value, unknown: &mut Vec<String>) -> Value {
        match value {
            Value::String(text) => Value::String(self.replace(text, unknown)),
            Value::Array(items) => items.iter().map(|item| self.fill_value(item, unknown)).collect(),
            Value::Object(fields) => {
                let fields = fields.iter();
                let filled = fields.map(|(key, value)| (self.replace(key, unknown), self.fill_value(value, unknown)));
                Value::Object(filled.collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    /// Copies `text`, replacing `${name}`; `$${` is a literal `${`.
    fn replace(&self, text: &str, unknown: &mut Vec<String>) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, found) = rest.split_at(at);
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str("${");
                rest = &found[2..];
                continue;
            }
            out.push_str(before);
            let name = found[2..].find('}').map(|end| &found[2..2 + end]).filter(|name| is_name(name));
            let Some(name) = name else {
                out.push_str("${");
                rest = &found[2..];
                continue;
            };
            match self.get(name) {
                Some(value) => out.push_str(value),
                None => {
                    unknown.push(format!("${{{name}}}"));
                    out.push_str(&found[..name.len() + 3]);
                }
            }
            rest = &found[name.len() + 3..];
        }
        out.push_str(rest);
        out
    }
}

/// Names in a driver's configuration that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse config: unknown variable {names}; write $${{ for a literal ${{")]
pub(crate) struct UnknownNames {
    names: String,
}

fn is_name(text: &str) -> bool {
    let inner = text.strip_prefix("env[\"").and_then(|rest| rest.strip_suffix("\"]")).unwrap_or(text);
    !inner.is_empty() && inner.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let mut names = Names::default();
        names.env.insert("NOMAD_PORT_http".into(), "8080".into());
        names.node.insert("attr.kernel.name".into(), "linux".into());
        names
    }

    #[test]
    fn names_are_replaced_and_what_is_no_name_stays() {
        for (text, expected) in [
            ("a ${NOMAD_PORT_http} b", "a 8080 b"),
            ("${attr.kernel.name}-${env[\"NOMAD_PORT_http\"]}", "linux-8080"),
            ("${unknown} $HOME ${ x.y } ${", "${unknown} $HOME ${ x.y } ${"),
            ("$${NOMAD_PORT_http}", "${NOMAD_PORT_http}"),
        ] {
            assert_eq!(names().fill(text), expected);
        }
    }

    #[test]
    fn a_driver_configuration_with_an_unknown_name_is_refused() {
        let config = serde_json::json!({"args": ["-p", "${NOMAD_PORT_http}", {"x": "${oops.a}"}], "n": 3});
        let config: BTreeMap<String, Value> = serde_json::from_value(config).unwrap();
        let error = names().fill_config(&config).unwrap_err().to_string();
        assert!(error.contains("unknown variable ${oops.a}"), "{error}");
    }
}
