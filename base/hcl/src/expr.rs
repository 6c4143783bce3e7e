//! An expression of a document, in either spelling, with the source it stands in.

use std::collections::BTreeMap;

use hcl_edit::expr::Expression;
use hcl_edit::parser;

use crate::diagnostics::Diagnostic;
use crate::eval::{EvalResult, Evaluator, Fault};
use crate::json::{Kind, Node};
use crate::references::References;
use crate::scope::Scope;
use crate::source::{Source, Span};
use crate::types::Type;
use crate::value::Value;

/// An expression that can be evaluated, as often as wanted and in different scopes.
#[derive(Debug, Clone, Copy)]
pub struct Expr<'d> {
    source: &'d Source,
    kind: ExprKind<'d>,
}

#[derive(Debug, Clone, Copy)]
enum ExprKind<'d> {
    Native(&'d Expression),
    Json(&'d Node),
}

impl<'d> Expr<'d> {
    pub(crate) fn native(source: &'d Source, expression: &'d Expression) -> Self {
        Self { source, kind: ExprKind::Native(expression) }
    }

    pub(crate) fn json(source: &'d Source, node: &'d Node) -> Self {
        Self { source, kind: ExprKind::Json(node) }
    }

    /// The source it stands in.
    pub fn source(&self) -> &'d Source {
        self.source
    }

    /// Where it stands.
    pub fn span(&self) -> Span {
        match self.kind {
            ExprKind::Native(expression) => Evaluator::of_source(self.source.text()).span_of(expression),
            ExprKind::Json(node) => node.span,
        }
    }

    /// Its source text.
    pub fn text(&self) -> &'d str {
        self.source.slice(self.span())
    }

    /// Evaluates it.
    ///
    /// # Errors
    ///
    /// What failed, with its place.
    pub fn evaluate(&self, scope: &Scope) -> Result<Value, Box<Diagnostic>> {
        self.eval(scope).map_err(|fault| diagnostic(self.source, *fault))
    }

    pub(crate) fn eval(&self, scope: &Scope) -> EvalResult<Value> {
        match self.kind {
            ExprKind::Native(expression) => Evaluator::of_source(self.source.text()).evaluate(expression, scope),
            ExprKind::Json(node) => json_value(node, scope),
        }
    }

    /// Reads it as a type expression; in JSON that is a string that holds one.
    pub(crate) fn as_type(&self) -> EvalResult<Type> {
        match self.kind {
            ExprKind::Native(expression) => {
                Type::from_expression(&Evaluator::of_source(self.source.text()), expression)
            }
            ExprKind::Json(Node { kind: Kind::String(text), span }) => {
                let parsed = parser::parse_expr(text).map_err(|_| Fault::new(*span, "this is not a type"))?;
                Type::from_expression(&Evaluator::of_fragment(text, *span), &parsed)
            }
            ExprKind::Json(node) => Err(Fault::new(node.span, "a type is a string such as \"list(string)\"")),
        }
    }

    /// The names it refers to; names bound inside it by `for` are among them.
    pub(crate) fn references(&self) -> References {
        match self.kind {
            ExprKind::Native(expression) => References::of_expression(expression),
            ExprKind::Json(node) => References::of_node(node),
        }
    }

    /// Reads it as a bare name, or a string: how `iterator = port` is written.
    pub(crate) fn as_name(&self) -> Option<&'d str> {
        match self.kind {
            ExprKind::Native(Expression::Variable(name)) => Some(name.value().as_str()),
            ExprKind::Native(Expression::String(name)) => Some(name.value()),
            ExprKind::Json(Node { kind: Kind::String(name), .. }) => Some(name),
            ExprKind::Native(_) | ExprKind::Json(_) => None,
        }
    }
}

/// A fault as a diagnostic of its source.
pub(crate) fn diagnostic(source: &Source, fault: Fault) -> Box<Diagnostic> {
    let mut diagnostic = Diagnostic::error(source, fault.span, fault.message);
    diagnostic.help = fault.help;
    Box::new(diagnostic)
}

/// A JSON value as HCL sees it: every string is a template.
fn json_value(node: &Node, scope: &Scope) -> EvalResult<Value> {
    if !scope.charge(1) {
        return Err(Fault::new(node.span, crate::eval::OVER_BUDGET));
    }
    Ok(match &node.kind {
        Kind::Null => Value::Null,
        Kind::Bool(flag) => Value::Bool(*flag),
        Kind::Number(number) => Value::Number(*number),
        Kind::String(text) => json_string(text, node.span, scope)?,
        Kind::Array(elements) => {
            Value::List(elements.iter().map(|element| json_value(element, scope)).collect::<EvalResult<_>>()?)
        }
        Kind::Object(properties) => {
            let mut entries = BTreeMap::new();
            for property in properties {
                let name = json_string(&property.name, property.name_span, scope)?;
                let Some(name) = name.to_text() else {
                    return Err(Fault::new(property.name_span, "a key must be a string"));
                };
                if entries.insert(name.into_owned(), json_value(&property.value, scope)?).is_some() {
                    return Err(Fault::new(property.name_span, format!("`{}` is set twice", property.name)));
                }
            }
            Value::Map(entries)
        }
    })
}

fn json_string(text: &str, span: Span, scope: &Scope) -> EvalResult<Value> {
    if !text.contains("${") && !text.contains("%{") {
        return if scope.charge(text.len()) {
            Ok(Value::String(text.to_owned()))
        } else {
            Err(Fault::new(span, crate::eval::OVER_BUDGET))
        };
    }
    let template = parser::parse_template(text)
        .map_err(|error| Fault::new(span, format!("this string is not a valid template: {}", error.message())))?;
    Evaluator::of_fragment(text, span).evaluate_template(&template, scope)
}
