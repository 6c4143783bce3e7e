//! References: a name, then attributes, indexes and splats.

use std::borrow::Cow;

use hcl_edit::expr::{Expression, Traversal, TraversalOperator};
use hcl_edit::{Decorated, Span as _};

use super::{EvalResult, Evaluator, Fault};
use crate::number::Number;
use crate::scope::Scope;
use crate::source::Span;
use crate::suggest::did_you_mean;
use crate::value::Value;

type Operators<'a> = &'a [Decorated<TraversalOperator>];

impl Evaluator<'_> {
    /// A bare name or a traversal.
    pub(super) fn reference(&self, expression: &Expression, scope: &Scope) -> EvalResult<Value> {
        let value = match expression {
            Expression::Variable(name) => match scope.get(name.as_str()) {
                Some(value) => Cow::Borrowed(value),
                None => return self.unknown_root(name.as_str(), expression, scope),
            },
            Expression::Traversal(traversal) => match self.root(traversal, expression, scope)? {
                Root::Kept(text) => return Ok(text),
                Root::Value(value) => self.walk(value, &traversal.operators, scope, self.span_of(expression))?,
            },
            other => Cow::Owned(self.eval(other, scope)?),
        };
        self.charge(scope, value.weight(), self.span_of(expression))?;
        Ok(value.into_owned())
    }

    /// Whether an expression is a reference whose root name nobody defined.
    pub(super) fn is_unknown_reference(&self, expression: &Expression, scope: &Scope) -> bool {
        let name = match expression {
            Expression::Variable(name) => name,
            Expression::Traversal(traversal) => match &traversal.expr {
                Expression::Variable(name) => name,
                _ => return false,
            },
            _ => return false,
        };
        scope.get(name.as_str()).is_none()
    }

    fn root<'s>(&self, traversal: &Traversal, whole: &Expression, scope: &'s Scope) -> EvalResult<Root<'s>> {
        match &traversal.expr {
            Expression::Variable(name) => match scope.get(name.as_str()) {
                Some(value) => Ok(Root::Value(Cow::Borrowed(value))),
                None => self.unknown_root(name.as_str(), whole, scope).map(Root::Kept),
            },
            other => Ok(Root::Value(Cow::Owned(self.eval(other, scope)?))),
        }
    }

    fn walk<'v>(
        &self,
        mut value: Cow<'v, Value>,
        operators: Operators<'_>,
        scope: &Scope,
        whole: Span,
    ) -> EvalResult<Cow<'v, Value>> {
        for (index, operator) in operators.iter().enumerate() {
            let span = self.place.or_else(|| operator.span().map(Span::from)).unwrap_or(whole);
            let rest = &operators[index + 1..];
            match operator.value() {
                TraversalOperator::GetAttr(name) => value = attribute(value, name.as_str(), span)?,
                TraversalOperator::LegacyIndex(position) => {
                    value = element(value, &Value::Number(Number::Int((*position.value()).into())), span)?;
                }
                TraversalOperator::Index(key) => {
                    let key = self.eval(key, scope)?;
                    value = element(value, &key, span)?;
                }
                TraversalOperator::FullSplat(_) => {
                    return self.splat(value, rest, scope, whole).map(Cow::Owned);
                }
                TraversalOperator::AttrSplat(_) => {
                    let attributes =
                        rest.iter().take_while(|next| matches!(next.value(), TraversalOperator::GetAttr(_))).count();
                    let list = self.splat(value, &rest[..attributes], scope, whole)?;
                    return self.walk(Cow::Owned(list), &rest[attributes..], scope, whole);
                }
            }
        }
        Ok(value)
    }

    /// Applies operators to each element: null has none, anything that is no list counts as one.
    fn splat(&self, value: Cow<'_, Value>, rest: Operators<'_>, scope: &Scope, whole: Span) -> EvalResult<Value> {
        self.charge(scope, value.weight(), whole)?;
        let elements = match value.into_owned() {
            Value::Null => Vec::new(),
            Value::List(elements) | Value::Set(elements) => elements,
            single @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Map(_)) => vec![single],
        };
        let walked =
            elements.into_iter().map(|element| self.walk(Cow::Owned(element), rest, scope, whole).map(Cow::into_owned));
        walked.collect::<EvalResult<_>>().map(Value::List)
    }
}

enum Root<'s> {
    Kept(Value),
    Value(Cow<'s, Value>),
}

fn attribute<'v>(value: Cow<'v, Value>, name: &str, span: Span) -> EvalResult<Cow<'v, Value>> {
    let Value::Map(entries) = value.as_ref() else {
        return Err(Fault::new(span, format!("{} has no attributes, so no `{name}`", value.kind())));
    };
    if !entries.contains_key(name) {
        let help = did_you_mean(name, entries.keys().map(String::as_str));
        return Err(Fault::new(span, format!("there is no `{name}` in this object")).with_help(help));
    }
    Ok(take_entry(value, name))
}

fn element<'v>(value: Cow<'v, Value>, key: &Value, span: Span) -> EvalResult<Cow<'v, Value>> {
    match value.as_ref() {
        Value::List(elements) => {
            let length = elements.len();
            let position = key.to_number().and_then(Number::as_i64).ok_or_else(|| {
                Fault::new(span, format!("a list is indexed by a whole number, this is {}", key.kind()))
            })?;
            let index = usize::try_from(position)
                .ok()
                .filter(|index| *index < length)
                .ok_or_else(|| Fault::new(span, format!("there is no element {position}: the list has {length}")))?;
            Ok(match value {
                Cow::Borrowed(Value::List(elements)) => Cow::Borrowed(&elements[index]),
                Cow::Owned(Value::List(mut elements)) => Cow::Owned(elements.swap_remove(index)),
                other => other,
            })
        }
        Value::Map(_) => match key.to_text() {
            Some(name) => attribute(value, &name, span),
            None => Err(Fault::new(span, format!("a map is indexed by a string, this is {}", key.kind()))),
        },
        Value::Set(_) => Err(Fault::new(span, "a set has no order, so its elements cannot be indexed")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Err(Fault::new(span, format!("{} cannot be indexed", value.kind())))
        }
    }
}

fn take_entry<'v>(value: Cow<'v, Value>, name: &str) -> Cow<'v, Value> {
    match value {
        Cow::Borrowed(Value::Map(entries)) => match entries.get(name) {
            Some(found) => Cow::Borrowed(found),
            None => Cow::Owned(Value::Null),
        },
        Cow::Owned(Value::Map(mut entries)) => Cow::Owned(entries.remove(name).unwrap_or_default()),
        other => other,
    }
}
