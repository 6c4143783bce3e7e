//! Reading one agent file by the table of keys.

use std::path::Path;

use orch_hcl::{Block, BodyReader, Diagnostic, Diagnostics, FileAccess, Labels, Scope, Severity, Source, UnknownRoots};

use crate::keys::{self, Contents, Fate, Key, Label, Section};
use crate::merged::{Merged, Setting};
use crate::value::Value;

/// Reads the text of `path` into `merged`; what is wrong with it or has no effect is added there, with its place.
pub(crate) fn read(path: &Path, bytes: &[u8], merged: &mut Merged) {
    let name = path.display().to_string();
    let source = match Source::from_bytes(name, bytes) {
        Ok(source) => source,
        Err(diagnostic) => return merged.problems.push(diagnostic.to_string()),
    };
    let document = match orch_hcl::parse(source) {
        Ok(document) => document,
        Err(diagnostics) => return report(diagnostics, merged),
    };
    let diagnostics = Diagnostics::new();
    let scope = Scope::new(UnknownRoots::Error, FileAccess::Disabled);
    let top = document.reader(&scope, &diagnostics);
    for section in keys::sections().filter(|section| section.path.is_empty()) {
        if let Contents::Keys(table) = section.contents {
            Reading { merged }.keys(top, "", None, table);
            break;
        }
    }
    report(diagnostics, merged);
}

/// Hands findings on in the order of the text.
fn report(diagnostics: Diagnostics, merged: &mut Merged) {
    let mut findings = diagnostics.into_vec();
    findings.sort_by_key(|finding| (finding.line, finding.column));
    for diagnostic in findings {
        match diagnostic.severity {
            Severity::Error => merged.problems.push(diagnostic.to_string()),
            Severity::Warning => {
                let Diagnostic { file, line, column, message, .. } = diagnostic;
                merged.warnings.push(format!("{file}:{line}:{column}: {message}"));
            }
        }
    }
}

struct Reading<'m> {
    merged: &'m mut Merged,
}

impl Reading<'_> {
    fn keys(&mut self, mut body: BodyReader<'_>, path: &'static str, label: Option<&str>, table: &'static [Key]) {
        for key in table {
            if let Some(value) = Value::read(&mut body, key.name, key.kind) {
                self.key(&body, path, label, key, value);
            }
        }
        for section in keys::sections() {
            if let Some(name) = child_of(path, section.path) {
                self.section(&mut body, name, section);
            }
        }
        body.finish();
    }

    fn key(&mut self, body: &BodyReader<'_>, path: &'static str, label: Option<&str>, key: &Key, value: Value) {
        let shown = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        let span = body.place_of(key.name);
        match verdict(key.fate, &shown, &value) {
            Verdict::Take => {
                let position = body.source().position(span.start);
                let origin = format!("{}:{}:{}", body.source().name(), position.line, position.column);
                self.merged.set(&shown, label, Setting { value, origin });
            }
            Verdict::Drop => {}
            Verdict::Warn(message) => body.warning(span, message),
            Verdict::Refuse(message) => body.error(span, message),
        }
    }

    fn section(&mut self, body: &mut BodyReader<'_>, name: &str, section: &'static Section) {
        let blocks: Vec<Block<'_>> = match section.label {
            Label::None => body.at_most_one(name).into_iter().collect(),
            Label::Name => body.blocks_with(name, Labels::Exactly(&["name"])),
            Label::OptionalName => body.blocks_with(name, Labels::Optional("name")),
        };
        for block in blocks {
            let mut inner = block.reader();
            match section.contents {
                Contents::Keys(table) => {
                    let label = matches!(section.label, Label::Name).then(|| block.label(0));
                    self.keys(inner, section.path, label, table);
                }
                Contents::Ignored(why, names) => {
                    inner.allow(names);
                    inner.finish();
                    body.warning(block.span(), format!("{} has no effect: {why}", block.title()));
                }
                Contents::Refused(why) => body.error(block.span(), format!("{} is refused: {why}", block.title())),
                Contents::Plugin => self.plugin(inner, &block),
            }
        }
    }

    fn plugin(&mut self, mut body: BodyReader<'_>, block: &Block<'_>) {
        let name = block.label(0);
        if let Some(args) = body.opt_string_list("args")
            && !args.is_empty()
        {
            body.warning(body.place_of("args"), "`plugin.args` has no effect: drivers are part of the agent");
        }
        let config = body.opt_free_form("config").unwrap_or_default();
        if PLUGINS.contains(&name) {
            let config = config.into_iter().map(|(key, value)| (key, value.to_json())).collect();
            self.merged.plugins.insert(name.to_owned(), config);
        } else {
            let why = "a driver of that name is not built yet, or takes no configuration";
            body.warning(block.span(), format!("{} has no effect: {why}", block.title()));
        }
        body.finish();
    }
}

/// The drivers that take a configuration.
const PLUGINS: [&str; 5] = ["docker", "exec", "mock_driver", "raw_exec", "wasm"];

/// The name of the section `path` in `parent`, if it stands directly in it.
fn child_of(parent: &str, path: &'static str) -> Option<&'static str> {
    let name = if parent.is_empty() { path } else { path.strip_prefix(parent)?.strip_prefix('.')? };
    (!name.is_empty() && !name.contains('.')).then_some(name)
}

pub(crate) enum Verdict {
    Take,
    Drop,
    Warn(String),
    Refuse(String),
}

/// What becomes of `value` of the key that messages call `shown`.
pub(crate) fn verdict(fate: Fate, shown: &str, value: &Value) -> Verdict {
    match fate {
        Fate::Supported => Verdict::Take,
        Fate::Moot => Verdict::Drop,
        Fate::Ignored(why) => Verdict::Warn(format!("`{shown}` has no effect: {why}")),
        Fate::Refused(why) if value.asks() => Verdict::Refuse(format!("`{shown}` is refused: {why}")),
        Fate::RefusedAs(refused, why) if *value == Value::Text(refused.to_owned()) => {
            Verdict::Refuse(format!("`{shown} = \"{refused}\"` is refused: {why}"))
        }
        Fate::Refused(_) | Fate::RefusedAs(..) => Verdict::Drop,
    }
}
