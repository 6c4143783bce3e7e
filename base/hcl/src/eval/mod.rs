//! The evaluator: a syntax tree and a scope give a value, or one located fault.
//!
//! It never panics and always ends: the parser bounds the depth of a tree, the scope's budget bounds steps and bytes.

mod collections;
mod operators;
mod template;
mod traversal;

pub(crate) use collections::{Step, steps};

use std::ops::Range;

use hcl_edit::Span as _;
use hcl_edit::expr::{Expression, FuncCall};
use hcl_edit::template::Template;

use crate::functions::{self, Call};
use crate::number::Number;
use crate::scope::{Scope, UnknownRoots};
use crate::source::Span;
use crate::suggest::did_you_mean;
use crate::types::Type;
use crate::value::Value;

/// How many levels a value may have.
const MAX_VALUE_DEPTH: usize = 100;

/// What an evaluation failed at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) span: Span,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Fault {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Box<Self> {
        Box::new(Self { span, message: message.into(), help: None })
    }

    pub(crate) fn with_help(mut self: Box<Self>, help: Option<String>) -> Box<Self> {
        self.help = help;
        self
    }
}

pub(crate) type EvalResult<T> = Result<T, Box<Fault>>;

/// Evaluates trees that were parsed from one text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Evaluator<'a> {
    /// The text whose offsets the spans of the tree are.
    text: &'a str,
    /// The place to report for everything, if `text` is not itself the source (strings of a JSON document).
    place: Option<Span>,
}

impl<'a> Evaluator<'a> {
    /// For trees parsed from a whole source.
    pub(crate) fn of_source(text: &'a str) -> Self {
        Self { text, place: None }
    }

    /// For trees parsed from a text that stands at `place` of a source in another spelling.
    pub(crate) fn of_fragment(text: &'a str, place: Span) -> Self {
        Self { text, place: Some(place) }
    }

    /// Evaluates an expression; the result is bounded in depth.
    pub(crate) fn evaluate(&self, expression: &Expression, scope: &Scope) -> EvalResult<Value> {
        let value = self.eval(expression, scope)?;
        self.bounded(value, self.span_of(expression))
    }

    /// Evaluates a template as a whole; one that is a single interpolation gives that value as it is.
    pub(crate) fn evaluate_template(&self, template: &Template, scope: &Scope) -> EvalResult<Value> {
        let value = self.template_value(template, scope)?;
        self.bounded(value, self.place.unwrap_or_default())
    }

    fn bounded(&self, value: Value, span: Span) -> EvalResult<Value> {
        if value.depth() > MAX_VALUE_DEPTH {
            return Err(Fault::new(span, format!("the value is nested deeper than {MAX_VALUE_DEPTH} levels")));
        }
        Ok(value)
    }

    fn locate(&self, range: Option<Range<usize>>) -> Span {
        self.place.unwrap_or_else(|| range.map(Span::from).unwrap_or_default())
    }

    pub(crate) fn span_of(&self, expression: &Expression) -> Span {
        self.locate(expression.span())
    }

    fn slice(&self, range: Option<Range<usize>>) -> &'a str {
        range.and_then(|range| self.text.get(range)).unwrap_or_default()
    }

    fn charge(&self, scope: &Scope, cost: usize, span: Span) -> EvalResult<()> {
        if scope.charge(cost) { Ok(()) } else { Err(Fault::new(span, OVER_BUDGET)) }
    }

    fn eval(&self, expression: &Expression, scope: &Scope) -> EvalResult<Value> {
        self.charge(scope, 1, self.span_of(expression))?;
        match expression {
            Expression::Null(_) => Ok(Value::Null),
            Expression::Bool(flag) => Ok(Value::Bool(*flag.value())),
            Expression::Number(_) => self.number(expression),
            Expression::String(text) => {
                self.charge(scope, text.len(), self.span_of(expression))?;
                Ok(Value::String(text.value().clone()))
            }
            Expression::Array(array) => self.array(array, scope),
            Expression::Object(object) => self.object(object, scope),
            Expression::StringTemplate(template) => self.template_value(template, scope),
            Expression::HeredocTemplate(heredoc) => {
                self.template_text(&heredoc.template, heredoc.indent().unwrap_or(0), scope).map(Value::String)
            }
            Expression::Parenthesis(inner) => self.eval(inner.inner(), scope),
            Expression::Variable(_) | Expression::Traversal(_) => self.reference(expression, scope),
            Expression::Conditional(conditional) => self.conditional(conditional, scope),
            Expression::FuncCall(call) => self.call(call, scope),
            Expression::UnaryOp(operation) => self.unary(operation, scope),
            Expression::BinaryOp(operation) => self.binary(operation, scope),
            Expression::ForExpr(for_expr) => self.for_expr(for_expr, scope),
        }
    }

    /// A literal is read from the text again, because the parser turns large integers into floats.
    fn number(&self, expression: &Expression) -> EvalResult<Value> {
        let text: String = self.slice(expression.span()).chars().filter(|c| !c.is_whitespace()).collect();
        let number = Number::parse(&text)
            .or_else(|| expression.as_number().and_then(|n| n.as_f64()).and_then(Number::from_f64))
            .ok_or_else(|| Fault::new(self.span_of(expression), "this is not a number that can be represented"))?;
        Ok(Value::Number(number))
    }

    fn call(&self, call: &FuncCall, scope: &Scope) -> EvalResult<Value> {
        let name = call.name.name.as_str();
        let name_span = self.locate(call.name.name.span());
        if call.name.is_namespaced() {
            return Err(Fault::new(name_span, "functions have no namespaces"));
        }
        match name {
            "try" => return self.try_call(call, scope, name_span),
            "can" => return self.can_call(call, scope, name_span),
            "convert" => return self.convert_call(call, scope, name_span),
            _ => {}
        }
        let Some(function) = functions::find(name) else {
            return Err(Fault::new(name_span, format!("there is no function named `{name}`"))
                .with_help(did_you_mean(name, functions::names())));
        };
        let (values, spans) = self.arguments(call, scope)?;
        let span = self.locate(call.span());
        function
            .accepts(values.len())
            .map_err(|expected| Fault::new(name_span, format!("`{name}` takes {expected}, not {}", values.len())))?;
        let mut invocation = Call::new(scope, values);
        let outcome = (function.body)(&mut invocation).map_err(|fault| {
            let place = fault.argument.and_then(|index| spans.get(index).copied()).unwrap_or(span);
            Fault::new(place, format!("`{name}`: {}", fault.message))
        })?;
        self.charge(scope, outcome.weight(), span)?;
        Ok(outcome)
    }

    /// Values and places of the arguments, with a final `...` spread out.
    fn arguments(&self, call: &FuncCall, scope: &Scope) -> EvalResult<(Vec<Value>, Vec<Span>)> {
        let (mut values, mut spans) = (Vec::new(), Vec::new());
        let last = call.args.len().saturating_sub(1);
        for (index, argument) in call.args.iter().enumerate() {
            let span = self.span_of(argument);
            let value = self.eval(argument, scope)?;
            if index == last && call.args.expand_final() {
                let kind = value.kind();
                let (Value::List(elements) | Value::Set(elements)) = value else {
                    return Err(Fault::new(span, format!("only a list can be spread with `...`, this is {kind}")));
                };
                spans.extend(elements.iter().map(|_| span));
                values.extend(elements);
            } else {
                values.push(value);
                spans.push(span);
            }
        }
        Ok((values, spans))
    }

    /// The first argument that evaluates without a fault.
    fn try_call(&self, call: &FuncCall, scope: &Scope, span: Span) -> EvalResult<Value> {
        let mut last = Fault::new(span, "`try` takes at least 1 argument");
        for argument in &call.args {
            match self.eval(argument, scope) {
                Ok(value) => return Ok(value),
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }

    fn can_call(&self, call: &FuncCall, scope: &Scope, span: Span) -> EvalResult<Value> {
        match call.args.get(0) {
            Some(argument) if call.args.len() == 1 => Ok(Value::Bool(self.eval(argument, scope).is_ok())),
            _ => Err(Fault::new(span, format!("`can` takes 1 argument, not {}", call.args.len()))),
        }
    }

    fn convert_call(&self, call: &FuncCall, scope: &Scope, span: Span) -> EvalResult<Value> {
        let (Some(value), Some(kind), 2) = (call.args.get(0), call.args.get(1), call.args.len()) else {
            return Err(Fault::new(span, format!("`convert` takes 2 arguments, not {}", call.args.len())));
        };
        let wanted = Type::from_expression(self, kind)?;
        let given = self.eval(value, scope)?;
        wanted.convert(given).map_err(|message| Fault::new(self.span_of(value), format!("`convert`: {message}")))
    }

    /// What an undefined root name means here: its own text, to be interpolated by somebody else, or a fault.
    fn unknown_root(&self, name: &str, whole: &Expression, scope: &Scope) -> EvalResult<Value> {
        match scope.unknown_roots() {
            UnknownRoots::KeepLiteral => Ok(Value::String(format!("${{{}}}", self.slice(whole.span()).trim()))),
            UnknownRoots::Error => {
                Err(Fault::new(self.span_of(whole), format!("there is nothing named `{name}` here"))
                    .with_help(did_you_mean(name, scope.names())))
            }
        }
    }
}

pub(crate) const OVER_BUDGET: &str = "evaluating this document takes too much work or memory";
