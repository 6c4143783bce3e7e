//! Arithmetic, comparison, logic and the conditional.

use hcl_edit::Span as _;
use hcl_edit::expr::{BinaryOp, BinaryOperator, Conditional, Expression, UnaryOp, UnaryOperator};

use super::{EvalResult, Evaluator, Fault};
use crate::number::Number;
use crate::scope::Scope;
use crate::value::Value;

impl Evaluator<'_> {
    pub(super) fn unary(&self, operation: &UnaryOp, scope: &Scope) -> EvalResult<Value> {
        match operation.operator.value() {
            UnaryOperator::Not => Ok(Value::Bool(!self.bool_operand(&operation.expr, scope, "!")?)),
            UnaryOperator::Neg => self
                .number_operand(&operation.expr, scope, "-")?
                .checked_neg()
                .map(Value::Number)
                .map_err(|message| Fault::new(self.locate(operation.span()), message)),
        }
    }

    pub(super) fn binary(&self, operation: &BinaryOp, scope: &Scope) -> EvalResult<Value> {
        let operator = *operation.operator.value();
        let sign = operator.as_str();
        let (left, right) = (&operation.lhs_expr, &operation.rhs_expr);
        match operator {
            BinaryOperator::And => {
                Ok(Value::Bool(self.bool_operand(left, scope, sign)? && self.bool_operand(right, scope, sign)?))
            }
            BinaryOperator::Or => {
                Ok(Value::Bool(self.bool_operand(left, scope, sign)? || self.bool_operand(right, scope, sign)?))
            }
            BinaryOperator::Eq => Ok(Value::Bool(self.eval(left, scope)? == self.eval(right, scope)?)),
            BinaryOperator::NotEq => Ok(Value::Bool(self.eval(left, scope)? != self.eval(right, scope)?)),
            BinaryOperator::Less
            | BinaryOperator::LessEq
            | BinaryOperator::Greater
            | BinaryOperator::GreaterEq
            | BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Mul
            | BinaryOperator::Div
            | BinaryOperator::Mod => {
                let a = self.number_operand(left, scope, sign)?;
                let b = self.number_operand(right, scope, sign)?;
                numeric(operator, a, b).map_err(|message| Fault::new(self.locate(operation.span()), message))
            }
        }
    }

    /// Only the chosen side has to succeed, but a string on the other side makes a number or bool into a string.
    pub(super) fn conditional(&self, conditional: &Conditional, scope: &Scope) -> EvalResult<Value> {
        let condition = self.eval(&conditional.cond_expr, scope)?;
        let Some(flag) = condition.to_bool() else {
            let message = format!("the condition must be a bool, this is {}", condition.kind());
            return Err(Fault::new(self.span_of(&conditional.cond_expr), message));
        };
        let (chosen, other) = if flag {
            (&conditional.true_expr, &conditional.false_expr)
        } else {
            (&conditional.false_expr, &conditional.true_expr)
        };
        let value = self.eval(chosen, scope)?;
        if matches!(value, Value::Number(_) | Value::Bool(_))
            && matches!(self.eval(other, scope), Ok(Value::String(_)))
            && let Some(text) = value.to_text()
        {
            return Ok(Value::String(text.into_owned()));
        }
        Ok(value)
    }

    pub(super) fn bool_operand(&self, expression: &Expression, scope: &Scope, sign: &str) -> EvalResult<bool> {
        let value = self.eval(expression, scope)?;
        value.to_bool().ok_or_else(|| {
            Fault::new(self.span_of(expression), format!("`{sign}` needs a bool, this is {}", value.kind()))
        })
    }

    fn number_operand(&self, expression: &Expression, scope: &Scope, sign: &str) -> EvalResult<Number> {
        let value = self.eval(expression, scope)?;
        value.to_number().ok_or_else(|| {
            let found = match &value {
                Value::String(text) if text.chars().count() <= 40 => format!("the string \"{text}\""),
                other => other.kind().to_owned(),
            };
            Fault::new(self.span_of(expression), format!("`{sign}` needs a number, this is {found}"))
        })
    }
}

fn numeric(operator: BinaryOperator, a: Number, b: Number) -> Result<Value, &'static str> {
    Ok(match operator {
        BinaryOperator::Less => Value::Bool(a < b),
        BinaryOperator::LessEq => Value::Bool(a <= b),
        BinaryOperator::Greater => Value::Bool(a > b),
        BinaryOperator::GreaterEq => Value::Bool(a >= b),
        BinaryOperator::Plus => Value::Number(a.checked_add(b)?),
        BinaryOperator::Minus => Value::Number(a.checked_sub(b)?),
        BinaryOperator::Mul => Value::Number(a.checked_mul(b)?),
        BinaryOperator::Div => Value::Number(a.checked_div(b)?),
        BinaryOperator::Mod => Value::Number(a.checked_rem(b)?),
        BinaryOperator::Eq | BinaryOperator::NotEq => Value::Bool((a == b) == (operator == BinaryOperator::Eq)),
        BinaryOperator::And | BinaryOperator::Or => return Err("this operator needs bools"),
    })
}
