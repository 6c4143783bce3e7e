//! Reading a body with a schema: typed attributes and blocks, every finding at its place.
//!
//! A reader asks for what it knows; [`BodyReader::finish`] then reports whatever else the body holds. A value that does not
//! fit is recorded and reads as absent, so that one pass finds all errors. Whoever uses the result checks
//! [`Diagnostics::has_errors`] first.

mod json;

use std::collections::BTreeMap;

use hcl_edit::structure::Structure;

use crate::block::{Block, Context, json_properties, span_of};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::duration;
use crate::dynamic;
use crate::expr::Expr;
use crate::scope::Scope;
use crate::source::{Source, Span};
use crate::suggest::did_you_mean;
use crate::syntax::BodyRef;
use crate::value::Value;

/// An attribute as it was found: where its name stands, and its value, not evaluated yet.
#[derive(Debug, Clone, Copy)]
pub struct Attribute<'d> {
    /// Where the name stands.
    pub key_span: Span,
    /// The value.
    pub expr: Expr<'d>,
}

/// Which labels a block takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labels<'l> {
    /// None.
    None,
    /// Exactly these, named for messages.
    Exactly(&'l [&'l str]),
    /// One of this name, or none.
    Optional(&'l str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Attribute,
    Block,
    Either,
}

/// Reads one body; see the module about how errors are handled.
#[derive(Debug)]
pub struct BodyReader<'d> {
    context: Context<'d>,
    body: BodyRef<'d>,
    span: Span,
    title: String,
    known: BTreeMap<String, Form>,
}

impl<'d> BodyReader<'d> {
    pub(crate) fn new(
        source: &'d Source,
        diagnostics: &'d Diagnostics,
        body: BodyRef<'d>,
        scope: Scope,
        span: Span,
        title: String,
    ) -> Self {
        Self::in_context(Context { source, diagnostics, scope, dynamic: false }, body, span, title)
    }

    pub(crate) fn in_context(context: Context<'d>, body: BodyRef<'d>, span: Span, title: String) -> Self {
        Self { context, body, span, title, known: BTreeMap::new() }
    }

    /// Expands `dynamic` blocks in this body and all below it.
    #[must_use]
    pub fn with_dynamic_blocks(mut self) -> Self {
        self.context.dynamic = true;
        self
    }

    /// Names that the contents see.
    pub fn scope(&self) -> &Scope {
        &self.context.scope
    }

    /// The source it reads.
    pub fn source(&self) -> &'d Source {
        self.context.source
    }

    /// Where findings go.
    pub fn diagnostics(&self) -> &'d Diagnostics {
        self.context.diagnostics
    }

    /// Where the type and labels of the block stand; the start of the text for a whole document.
    pub fn span(&self) -> Span {
        self.span
    }

    /// How messages name what is read: `` `group "web"` `` or `the document`.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Records an error at a place.
    pub fn error(&self, span: Span, message: impl Into<String>) {
        self.context.diagnostics.error(self.context.source, span, message);
    }

    /// Records an error with advice at a place.
    pub fn error_with_help(&self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.context.diagnostics.push(Diagnostic::error(self.context.source, span, message).with_help(help));
    }

    /// Records a warning at a place.
    pub fn warning(&self, span: Span, message: impl Into<String>) {
        self.context.diagnostics.warning(self.context.source, span, message);
    }

    /// The attribute of that name, if it is there.
    pub fn attribute(&mut self, key: &str) -> Option<Attribute<'d>> {
        self.expect(key, Form::Attribute);
        self.find_attribute(key)
    }

    /// Every attribute name of the body with its attribute; all count as known.
    pub fn attributes(&mut self) -> Vec<(String, Attribute<'d>)> {
        let found: Vec<(String, Attribute<'d>)> = match &self.body {
            BodyRef::Native(body) => body
                .attributes()
                .map(|attribute| {
                    let expr = Expr::native(self.context.source, &attribute.value);
                    (attribute.key.as_str().to_owned(), Attribute { key_span: span_of(&attribute.key), expr })
                })
                .collect(),
            BodyRef::Json(nodes) => json_properties(nodes)
                .into_iter()
                .map(|property| {
                    let expr = Expr::json(self.context.source, &property.value);
                    (property.name.clone(), Attribute { key_span: property.name_span, expr })
                })
                .collect(),
        };
        for (key, _) in &found {
            self.expect(key, Form::Attribute);
        }
        found
    }

    fn find_attribute(&self, key: &str) -> Option<Attribute<'d>> {
        match &self.body {
            BodyRef::Native(body) => body.get_attribute(key).map(|attribute| Attribute {
                key_span: span_of(&attribute.key),
                expr: Expr::native(self.context.source, &attribute.value),
            }),
            BodyRef::Json(nodes) => {
                json_properties(nodes).into_iter().find(|property| property.name == key).map(|property| Attribute {
                    key_span: property.name_span,
                    expr: Expr::json(self.context.source, &property.value),
                })
            }
        }
    }

    /// Whether the body holds an attribute or block of that name; does not count as asking for it.
    pub fn contains(&self, key: &str) -> bool {
        match &self.body {
            BodyRef::Native(body) => body.iter().any(|structure| match structure {
                Structure::Attribute(attribute) => attribute.has_key(key),
                Structure::Block(block) => dynamic::target(block, self.context.dynamic) == key,
            }),
            BodyRef::Json(nodes) => json_properties(nodes).iter().any(|property| property.name == key),
        }
    }

    /// Where the value of an attribute stands, or the header of the first block of that name; failing both, this body's header.
    pub fn place_of(&self, key: &str) -> Span {
        if let Some(attribute) = self.find_attribute(key) {
            return attribute.expr.span();
        }
        match &self.body {
            BodyRef::Native(body) => body.get_blocks(key).next().map_or(self.span, |block| span_of(&block.ident)),
            BodyRef::Json(_) => self.span,
        }
    }

    /// Marks names as known without reading them.
    pub fn allow(&mut self, keys: &[&str]) {
        for key in keys {
            self.expect(key, Form::Either);
        }
    }

    fn expect(&mut self, key: &str, form: Form) {
        let known = self.known.entry(key.to_owned()).or_insert(form);
        if *known != form {
            *known = Form::Either;
        }
    }

    /// Evaluates an attribute; null counts as absent.
    pub fn opt_value(&mut self, key: &str) -> Option<Value> {
        let attribute = self.attribute(key)?;
        self.evaluate(&attribute.expr)
    }

    fn evaluate(&self, expr: &Expr<'d>) -> Option<Value> {
        match expr.evaluate(&self.context.scope) {
            Ok(Value::Null) => None,
            Ok(value) => Some(value),
            Err(diagnostic) => {
                self.context.diagnostics.push(*diagnostic);
                None
            }
        }
    }

    fn read<T>(&mut self, key: &str, wanted: &str, convert: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let value = self.opt_value(key)?;
        let converted = convert(&value);
        if converted.is_none() {
            let found = describe(&value);
            self.error(self.place_of(key), format!("`{key}` must be {wanted}, not {found}"));
        }
        converted
    }

    /// A text; numbers and bools convert.
    pub fn opt_string(&mut self, key: &str) -> Option<String> {
        self.read(key, "a string", |value| value.to_text().map(|text| text.into_owned()))
    }

    /// A bool; the strings `"true"` and `"false"` convert.
    pub fn opt_bool(&mut self, key: &str) -> Option<bool> {
        self.read(key, "true or false", Value::to_bool)
    }

    /// A whole number of 64 bits; strings that hold one convert.
    pub fn opt_i64(&mut self, key: &str) -> Option<i64> {
        self.read(key, "a whole number", |value| value.to_number().and_then(crate::number::Number::as_i64))
    }

    /// A number; strings that hold one convert.
    pub fn opt_f64(&mut self, key: &str) -> Option<f64> {
        self.read(key, "a number", |value| value.to_number().map(crate::number::Number::as_f64))
    }

    /// A duration in nanoseconds: `"1h30m"`, or a bare number of nanoseconds.
    pub fn opt_duration_ns(&mut self, key: &str) -> Option<i64> {
        let value = self.opt_value(key)?;
        let outcome = match &value {
            Value::Number(number) => number.as_i64().ok_or_else(|| "a bare number counts whole nanoseconds".to_owned()),
            Value::String(text) => match crate::number::Number::parse(text).and_then(|number| number.as_i64()) {
                Some(nanoseconds) => Ok(nanoseconds),
                None => duration::parse(text).map_err(|error| error.to_string()),
            },
            other => Err(format!("this is {}", other.kind())),
        };
        match outcome {
            Ok(nanoseconds) => Some(nanoseconds),
            Err(message) => {
                self.error(self.place_of(key), format!("`{key}` must be a duration such as \"30s\": {message}"));
                None
            }
        }
    }

    /// A list of texts; numbers and bools in it convert.
    pub fn opt_string_list(&mut self, key: &str) -> Option<Vec<String>> {
        self.read(key, "a list of strings", |value| {
            let texts = value.as_list()?.iter().map(|element| element.to_text().map(|text| text.into_owned()));
            texts.collect()
        })
    }

    /// Texts by name, from an attribute; numbers and bools in it convert.
    pub fn opt_string_map(&mut self, key: &str) -> Option<BTreeMap<String, String>> {
        self.read(key, "a map of strings", |value| {
            let entries = value.as_map()?.iter();
            entries.map(|(name, value)| Some((name.clone(), value.to_text()?.into_owned()))).collect()
        })
    }

    /// Texts by name, written as block (`meta { a = "b" }`) or as attribute (`meta = { "a.b" = "c" }`); both at once is an error.
    pub fn opt_string_map_or_block(&mut self, key: &str) -> Option<BTreeMap<String, String>> {
        self.expect(key, Form::Either);
        let entries = self.map_entries(key)?;
        let mut texts = BTreeMap::new();
        for (name, span, value) in entries {
            match value.to_text() {
                Some(text) => {
                    texts.insert(name, text.into_owned());
                }
                None => self.error(span, format!("`{name}` in `{key}` must be a string, not {}", describe(&value))),
            }
        }
        Some(texts)
    }

    /// Values by name, written as block or as attribute like [`Self::opt_string_map_or_block`].
    pub fn opt_value_map_or_block(&mut self, key: &str) -> Option<BTreeMap<String, Value>> {
        self.expect(key, Form::Either);
        Some(self.map_entries(key)?.into_iter().map(|(name, _, value)| (name, value)).collect())
    }

    fn map_entries(&mut self, key: &str) -> Option<Vec<(String, Span, Value)>> {
        let attribute = self.attribute(key);
        let native = matches!(self.body, BodyRef::Native(_));
        let blocks = if native { self.blocks(key) } else { Vec::new() };
        if let (true, Some(block)) = (attribute.is_some(), blocks.first()) {
            block.error(format!("`{key}` is set twice, as attribute and as block"));
            return None;
        }
        if let [_, second, ..] = blocks.as_slice() {
            second.error(format!("`{key}` is set twice"));
        }
        if let Some(attribute) = attribute {
            let value = self.evaluate(&attribute.expr)?;
            let span = attribute.expr.span();
            let entries = match value {
                Value::Map(entries) => entries,
                // JSON writes a block that may be repeated as a list of objects.
                Value::List(elements) if !native => {
                    elements.into_iter().filter_map(|element| element.as_map().cloned()).flatten().collect()
                }
                other => {
                    self.error(span, format!("`{key}` must be a map, not {}", describe(&other)));
                    return None;
                }
            };
            return Some(
                entries
                    .into_iter()
                    .filter(|(_, value)| !value.is_null())
                    .map(|(name, value)| (name, span, value))
                    .collect(),
            );
        }
        let block = blocks.first()?;
        let attributes = block.attributes().into_iter();
        Some(
            attributes
                .filter_map(|(name, _, expr)| {
                    self.evaluate_in(&expr, block.scope()).map(|value| (name, expr.span(), value))
                })
                .collect(),
        )
    }

    fn evaluate_in(&self, expr: &Expr<'d>, scope: &Scope) -> Option<Value> {
        match expr.evaluate(scope) {
            Ok(Value::Null) => None,
            Ok(value) => Some(value),
            Err(diagnostic) => {
                self.context.diagnostics.push(*diagnostic);
                None
            }
        }
    }

    /// A text that must be there.
    pub fn require_string(&mut self, key: &str) -> Option<String> {
        self.require(key);
        self.opt_string(key)
    }

    /// Records an error if an attribute is missing (a null one counts as there).
    pub fn require(&mut self, key: &str) {
        if self.attribute(key).is_none() {
            self.error(self.span, format!("{} needs `{key}`", self.title));
        }
    }

    /// All blocks of that type, which take no labels, in order.
    pub fn blocks(&mut self, kind: &str) -> Vec<Block<'d>> {
        self.blocks_with(kind, Labels::None)
    }

    /// All blocks of that type with their labels, in order; those with a wrong number of labels are reported and left out.
    pub fn blocks_with(&mut self, kind: &str, labels: Labels<'_>) -> Vec<Block<'d>> {
        self.expect(kind, Form::Block);
        let found = match &self.body {
            BodyRef::Native(body) => {
                let mut found = Vec::new();
                for block in body.blocks().filter(|block| dynamic::target(block, self.context.dynamic) == kind) {
                    found.extend(dynamic::occurrences(&self.context, block));
                }
                found
            }
            BodyRef::Json(nodes) => self.json_blocks(nodes, kind, labels),
        };
        found.into_iter().filter(|block| self.labels_fit(block, labels)).collect()
    }

    /// The block of that type without labels; a second one is an error.
    pub fn at_most_one(&mut self, kind: &str) -> Option<Block<'d>> {
        self.at_most_one_with(kind, Labels::None)
    }

    /// The block of that type; a second one is an error.
    pub fn at_most_one_with(&mut self, kind: &str, labels: Labels<'_>) -> Option<Block<'d>> {
        let mut blocks = self.blocks_with(kind, labels).into_iter();
        let first = blocks.next();
        if let Some(second) = blocks.next() {
            second.error(format!("there may be only one `{kind}` block in {}", self.title));
        }
        first
    }

    /// The contents of a free-form block such as a task's `config`; also written as an attribute with a map.
    pub fn opt_free_form(&mut self, key: &str) -> Option<BTreeMap<String, Value>> {
        self.expect(key, Form::Either);
        if let (BodyRef::Native(_), Some(attribute)) = (&self.body, self.find_attribute(key)) {
            if self.at_most_one(key).is_some() {
                self.error(attribute.key_span, format!("`{key}` is set twice, as attribute and as block"));
            }
            return match self.evaluate(&attribute.expr)? {
                Value::Map(entries) => Some(entries),
                other => {
                    self.error(attribute.expr.span(), format!("`{key}` must be a map, not {}", describe(&other)));
                    None
                }
            };
        }
        Some(self.at_most_one(key)?.to_free_form())
    }

    fn labels_fit(&self, block: &Block<'d>, labels: Labels<'_>) -> bool {
        let kind = &block.kind;
        let count = block.labels.len();
        let message = match labels {
            Labels::None if count == 0 => return true,
            Labels::None => format!("`{kind}` takes no label"),
            Labels::Exactly(names) if count == names.len() => return true,
            Labels::Exactly([name]) if count == 0 => format!("`{kind}` needs a label: its {name}"),
            Labels::Exactly(names) => {
                format!(
                    "`{kind}` takes {} label{} ({}), not {count}",
                    names.len(),
                    plural(names.len()),
                    names.join(", ")
                )
            }
            Labels::Optional(_) if count <= 1 => return true,
            Labels::Optional(name) => format!("`{kind}` takes one label at most ({name}), not {count}"),
        };
        let help = match (labels, count) {
            (Labels::Exactly([name]), 0) => Some(format!("write `{kind} \"{name}\" {{`")),
            _ => None,
        };
        let mut diagnostic = Diagnostic::error(self.context.source, block.span, message);
        diagnostic.help = help;
        self.context.diagnostics.push(diagnostic);
        false
    }

    /// Reports every attribute and block that nobody asked for.
    pub fn finish(self) {
        match &self.body {
            BodyRef::Native(body) => {
                for structure in body.iter() {
                    match structure {
                        Structure::Attribute(attribute) => {
                            self.check(attribute.key.as_str(), span_of(&attribute.key), Form::Attribute);
                        }
                        Structure::Block(block) => {
                            self.check(
                                dynamic::target(block, self.context.dynamic),
                                span_of(&block.ident),
                                Form::Block,
                            );
                        }
                    }
                }
            }
            BodyRef::Json(nodes) => {
                let mut seen: BTreeMap<&str, ()> = BTreeMap::new();
                for property in json_properties(nodes) {
                    if self.context.dynamic && property.name == "dynamic" {
                        for (kind, span) in json::dynamic_targets(property) {
                            self.check(kind, span, Form::Block);
                        }
                        continue;
                    }
                    self.check(&property.name, property.name_span, Form::Either);
                    let again = seen.insert(&property.name, ()).is_some();
                    if again && self.known.get(&property.name) == Some(&Form::Attribute) {
                        self.error(property.name_span, format!("`{}` is set twice", property.name));
                    }
                }
            }
        }
    }

    fn check(&self, name: &str, span: Span, found: Form) {
        let title = &self.title;
        let (message, help) = match (self.known.get(name), found) {
            (Some(Form::Attribute), Form::Block) => {
                (format!("`{name}` is an attribute of {title}, not a block"), Some(format!("write `{name} = ..`")))
            }
            (Some(Form::Block), Form::Attribute) => (
                format!("`{name}` is a block of {title}, not an attribute"),
                Some(format!("write `{name} {{ .. }}` without `=`")),
            ),
            (Some(_), _) => return,
            (None, form) => {
                let what = match form {
                    Form::Attribute => "attribute",
                    Form::Block => "block",
                    Form::Either => "attribute or block",
                };
                (format!("{title} has no {what} `{name}`"), did_you_mean(name, self.known.keys().map(String::as_str)))
            }
        };
        let mut diagnostic = Diagnostic::error(self.context.source, span, message);
        diagnostic.help = help;
        self.context.diagnostics.push(diagnostic);
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// A value as a message shows it.
fn describe(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::String(text) if text.chars().count() <= 40 && !text.contains('\n') => format!("\"{text}\""),
        other => other.kind().to_owned(),
    }
}
