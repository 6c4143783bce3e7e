//! `variable`, `variables` and `locals` blocks, and the values given to variables from outside.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use crate::block::Block;
use crate::decode::{Attribute, BodyReader, Labels};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::expr::{self, Expr};
use crate::scope::Scope;
use crate::source::{Source, Span};
use crate::suggest::did_you_mean;
use crate::syntax::{Document, parse_expression};
use crate::types::Type;
use crate::value::Value;

/// Values for variables, from the weakest source to the strongest; within one source the last wins.
#[derive(Debug, Clone, Default)]
pub struct VariableInputs {
    /// Names with texts from the environment, prefix removed; those that are not declared are ignored.
    pub environment: Vec<(String, String)>,
    /// Variable files, in order.
    pub files: Vec<Document>,
    /// Names with texts from the command line, in order.
    pub flags: Vec<(String, String)>,
    /// Whether a value for a variable that is not declared is a warning instead of an error.
    pub allow_undeclared: bool,
}

/// Reads the `variable`, `variables` and `locals` blocks of a document's top level.
///
/// The result is the reader's scope with the objects `var` and `local` added. `None` if a declaration, a given value, a
/// validation or a local is wrong; what is wrong has then been recorded with the reader's diagnostics.
pub fn resolve_variables(top: &mut BodyReader<'_>, inputs: &VariableInputs) -> Option<Scope> {
    let local_diagnostics = Diagnostics::new();
    let scope = resolve(top, inputs, &local_diagnostics);
    let failed = local_diagnostics.has_errors();
    for diagnostic in local_diagnostics.into_vec() {
        top.diagnostics().push(diagnostic);
    }
    scope.filter(|_| !failed)
}

fn resolve(top: &mut BodyReader<'_>, inputs: &VariableInputs, found: &Diagnostics) -> Option<Scope> {
    let before = top.diagnostics().len();
    let mut declared = Declarations::read(top, found);
    declared.assign_all(inputs, &top.scope().without_names(), found);
    let values = declared.values(&top.scope().without_names(), found);
    let locals = read_locals(top, found);
    if found.has_errors() || top.diagnostics().len() > before {
        return None;
    }
    let scope = top.scope().with("var", Value::Map(values));
    evaluate_locals(&locals, &scope, found)
}

#[derive(Debug)]
struct Declaration<'d> {
    source: &'d Source,
    span: Span,
    kind: Type,
    value: Option<Value>,
    validations: Vec<Block<'d>>,
}

#[derive(Debug)]
struct Declarations<'d> {
    by_name: BTreeMap<String, Declaration<'d>>,
}

impl<'d> Declarations<'d> {
    fn read(top: &mut BodyReader<'d>, found: &Diagnostics) -> Self {
        let mut declarations = Self { by_name: BTreeMap::new() };
        for block in top.blocks_with("variable", Labels::Exactly(&["name"])) {
            let name = block.label(0).to_owned();
            if !is_identifier(&name) {
                found.error(block.source(), block.span(), format!("\"{name}\" is not a valid name for a variable"));
                continue;
            }
            let declaration = read_declaration(&block, found);
            declarations.add(name, declaration, found);
        }
        for block in top.blocks("variables") {
            for (name, span, expr) in block.attributes() {
                let value = evaluate(&expr, &block.scope().without_names(), found).unwrap_or_default();
                let kind = inferred_type(&value);
                let declaration =
                    Declaration { source: block.source(), span, kind, value: Some(value), validations: Vec::new() };
                declarations.add(name, declaration, found);
            }
        }
        declarations
    }

    fn add(&mut self, name: String, declaration: Declaration<'d>, found: &Diagnostics) {
        if self.by_name.contains_key(&name) {
            let message = format!("the variable `{name}` is declared twice");
            found.error(declaration.source, declaration.span, message);
            return;
        }
        self.by_name.insert(name, declaration);
    }

    fn assign_all(&mut self, inputs: &VariableInputs, scope: &Scope, found: &Diagnostics) {
        for (name, text) in &inputs.environment {
            if self.by_name.contains_key(name) {
                self.assign_text(
                    name,
                    text,
                    Source::new(format!("variable {name} from the environment"), text),
                    scope,
                    found,
                );
            }
        }
        for file in &inputs.files {
            self.assign_file(file, scope, inputs.allow_undeclared, found);
        }
        for (name, text) in &inputs.flags {
            let source = Source::new(format!("-var {name}"), text);
            if self.by_name.contains_key(name) {
                self.assign_text(name, text, source, scope, found);
            } else {
                let span = Span::new(0, text.len());
                self.undeclared(name, &source, span, inputs.allow_undeclared, found);
            }
        }
    }

    fn undeclared(&self, name: &str, source: &Source, span: Span, allowed: bool, found: &Diagnostics) {
        let message = format!("a value is given for `{name}`, but no such variable is declared");
        let mut diagnostic = match allowed {
            true => Diagnostic::warning(source, span, message),
            false => Diagnostic::error(source, span, message),
        };
        diagnostic.help = did_you_mean(name, self.by_name.keys().map(String::as_str));
        found.push(diagnostic);
    }

    fn assign_file(&mut self, file: &Document, scope: &Scope, allow_undeclared: bool, found: &Diagnostics) {
        let findings = Diagnostics::new();
        let mut reader = file.reader(scope, &findings);
        let attributes = reader.attributes();
        for (name, Attribute { key_span, expr }) in attributes {
            if self.by_name.contains_key(&name) {
                if let Some(value) = evaluate(&expr, scope, found) {
                    self.assign(&name, value, expr.source(), expr.span(), found);
                }
            } else {
                self.undeclared(&name, expr.source(), key_span, allow_undeclared, found);
            }
        }
        for block in reader.blocks_with("variable", Labels::Optional("name")) {
            block.error("variables are declared in the job file; a variable file only holds `name = value`");
        }
        reader.finish();
        found.extend(findings);
    }

    /// A text is taken as it is where that makes sense, else it is an expression.
    fn assign_text(&mut self, name: &str, text: &str, source: Source, scope: &Scope, found: &Diagnostics) {
        let span = Span::new(0, source.text().len());
        let raw = self.by_name.get(name).is_some_and(|declaration| declaration.kind.takes_raw_text());
        if raw {
            self.assign(name, Value::from(text), &source, span, found);
            return;
        }
        match parse_expression(source.clone()) {
            Ok(expression) => match expression.evaluate(scope) {
                Ok(value) => self.assign(name, value, &source, span, found),
                Err(diagnostic) => found.push(*diagnostic),
            },
            Err(diagnostics) => found.extend(diagnostics),
        }
    }

    fn assign(&mut self, name: &str, value: Value, source: &Source, span: Span, found: &Diagnostics) {
        let Some(declaration) = self.by_name.get_mut(name) else { return };
        match declaration.kind.convert(value) {
            Ok(value) => declaration.value = Some(value),
            Err(message) => {
                found.error(source, span, format!("the value of `{name}` does not fit its type: {message}"))
            }
        }
    }

    fn values(&self, scope: &Scope, found: &Diagnostics) -> BTreeMap<String, Value> {
        let mut values = BTreeMap::new();
        for (name, declaration) in &self.by_name {
            match &declaration.value {
                Some(value) => {
                    values.insert(name.clone(), value.clone());
                    validate(name, value, declaration, scope, found);
                }
                None => {
                    let message = format!("Unset variable: `{name}` has neither a value nor a default");
                    let help =
                        format!("give it one with -var '{name}=..', with a variable file, or in the environment");
                    found.push(Diagnostic::error(declaration.source, declaration.span, message).with_help(help));
                }
            }
        }
        values
    }
}

fn read_declaration<'d>(block: &Block<'d>, found: &Diagnostics) -> Declaration<'d> {
    let scope = block.scope().without_names();
    let mut reader = block.reader_in(scope.clone());
    let kind = match reader.attribute("type").map(|attribute| attribute.expr.as_type()) {
        Some(Ok(kind)) => kind,
        Some(Err(fault)) => {
            found.push(*expr::diagnostic(block.source(), *fault));
            Type::Any
        }
        None => Type::Any,
    };
    let default = reader.attribute("default").and_then(|attribute| {
        let value = evaluate(&attribute.expr, &scope, found)?;
        match kind.convert(value) {
            Ok(value) => Some(value),
            Err(message) => {
                let message = format!("the default does not fit the type: {message}");
                found.error(block.source(), attribute.expr.span(), message);
                Some(Value::Null)
            }
        }
    });
    reader.opt_string("description");
    let validations = reader.blocks("validation");
    reader.finish();
    Declaration { source: block.source(), span: block.span(), kind, value: default, validations }
}

fn evaluate(expr: &Expr<'_>, scope: &Scope, found: &Diagnostics) -> Option<Value> {
    expr.evaluate(scope).map_err(|diagnostic| found.push(*diagnostic)).ok()
}

fn validate(name: &str, value: &Value, declaration: &Declaration<'_>, scope: &Scope, found: &Diagnostics) {
    let own = Value::Map(BTreeMap::from([(name.to_owned(), value.clone())]));
    let scope = scope.with("var", own);
    for block in &declaration.validations {
        let mut reader = block.reader_in(scope.clone());
        let condition = reader.attribute("condition");
        let message = reader.attribute("error_message");
        reader.finish();
        let (Some(condition), Some(message)) = (condition, message) else {
            found.error(block.source(), block.span(), "`validation` needs `condition` and `error_message`");
            continue;
        };
        if !condition.expr.references().attributes_of("var").any(|attribute| attribute == name) {
            let text = format!("the condition must refer to `var.{name}`, and to no other variable");
            found.error(block.source(), condition.expr.span(), text);
            continue;
        }
        let message = evaluate(&message.expr, &scope, found).and_then(|value| value.to_text().map(|t| t.into_owned()));
        let message = message.unwrap_or_default();
        if message.trim().is_empty() {
            found.error(block.source(), block.span(), "`error_message` must be a text that is not blank");
            continue;
        }
        match evaluate(&condition.expr, &scope, found).map(|outcome| outcome.to_bool()) {
            Some(Some(true)) | None => {}
            Some(Some(false)) => {
                let text = format!("the value of `{name}` is not valid: {message}");
                let diagnostic = Diagnostic::error(declaration.source, declaration.span, text);
                found.push(diagnostic.with_note(format!("by the condition {}", condition.expr.text())));
            }
            Some(None) => found.error(block.source(), condition.expr.span(), "the condition must be true or false"),
        }
    }
}

fn inferred_type(value: &Value) -> Type {
    match value {
        Value::Null => Type::Any,
        Value::Bool(_) => Type::Bool,
        Value::Number(_) => Type::Number,
        Value::String(_) => Type::String,
        Value::List(_) | Value::Set(_) => Type::List(Box::new(Type::Any)),
        Value::Map(_) => Type::Map(Box::new(Type::Any)),
    }
}

fn is_identifier(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && characters.all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}

type Locals<'d> = BTreeMap<String, (Span, Expr<'d>)>;

fn read_locals<'d>(top: &mut BodyReader<'d>, found: &Diagnostics) -> Locals<'d> {
    let mut locals = BTreeMap::new();
    for block in top.blocks("locals") {
        for (name, span, expr) in block.attributes() {
            match locals.entry(name) {
                Entry::Vacant(place) => {
                    place.insert((span, expr));
                }
                Entry::Occupied(place) => {
                    found.error(block.source(), span, format!("the local `{}` is set twice", place.key()));
                }
            }
        }
    }
    locals
}

/// Evaluates locals in rounds, each round those whose own locals are all known.
fn evaluate_locals(locals: &Locals<'_>, scope: &Scope, found: &Diagnostics) -> Option<Scope> {
    let mut pending: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (name, (_, expr)) in locals {
        let references = expr.references();
        let needed = references.attributes_of("local").filter(|other| locals.contains_key(*other));
        pending.insert(name, needed.map(str::to_owned).collect());
    }
    let mut values: BTreeMap<String, Value> = BTreeMap::new();
    loop {
        let object = Value::Map(values.clone());
        if !scope.charge(object.weight()) {
            let (span, expr) = locals.values().next()?;
            found.error(expr.source(), *span, crate::eval::OVER_BUDGET);
            return None;
        }
        let scope = scope.with("local", object);
        let is_ready = |needed: &BTreeSet<String>| needed.iter().all(|other| values.contains_key(other));
        let ready: Vec<&str> = pending.iter().filter(|(_, needed)| is_ready(needed)).map(|(name, _)| *name).collect();
        if ready.is_empty() {
            if let Some(name) = pending.keys().next() {
                report_cycle(name, &pending, locals, found);
            }
            return pending.is_empty().then_some(scope);
        }
        for name in ready {
            pending.remove(name);
            let value = locals.get(name).and_then(|(_, expr)| evaluate(expr, &scope, found));
            values.insert(name.to_owned(), value.unwrap_or_default());
        }
        if found.has_errors() {
            return None;
        }
    }
}

/// Follows what keeps a local waiting until a name comes again.
fn report_cycle(start: &str, pending: &BTreeMap<&str, BTreeSet<String>>, locals: &Locals<'_>, found: &Diagnostics) {
    let mut path: Vec<&str> = Vec::new();
    let mut current = start;
    while !path.contains(&current) {
        path.push(current);
        let next =
            pending.get(current).and_then(|needed| needed.iter().find(|other| pending.contains_key(other.as_str())));
        match next {
            Some(next) => current = next,
            None => return,
        }
    }
    let begin = path.iter().position(|name| *name == current).unwrap_or(0);
    let mut circle: Vec<String> = path[begin..].iter().take(20).map(|name| format!("local.{name}")).collect();
    circle.push(format!("local.{current}"));
    if let Some((span, expr)) = locals.get(current) {
        found.error(expr.source(), *span, format!("locals depend on each other in a circle: {}", circle.join(" → ")));
    }
}
