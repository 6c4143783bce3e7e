//! String templates: interpolations, `%{if}` and `%{for}`, and the `~` markers that trim what is beside them.

use std::borrow::Cow;

use hcl_edit::Span as _;
use hcl_edit::expr::Expression;
use hcl_edit::template::{Directive, Element, ForDirective, IfDirective, Interpolation, Strip, Template};

use super::{EvalResult, Evaluator, Fault};
use crate::scope::{Scope, UnknownRoots};
use crate::source::Span;
use crate::value::Value;

/// Which ends of a template lie next to a `~`.
#[derive(Debug, Clone, Copy, Default)]
struct Trim {
    start: bool,
    end: bool,
}

/// A template with what is to be done to its literals.
#[derive(Debug, Clone, Copy)]
struct Part<'t> {
    template: &'t Template,
    trim: Trim,
    /// How many blanks to take from the start of each line: the parser does that for `<<-` heredocs, but leaves out the
    /// insides of directives.
    dedent: usize,
}

impl Evaluator<'_> {
    /// A template that consists of one interpolation gives its value, any other one a string.
    pub(super) fn template_value(&self, template: &Template, scope: &Scope) -> EvalResult<Value> {
        let mut elements = template.iter();
        match (elements.next(), elements.next()) {
            (Some(Element::Interpolation(interpolation)), None) => match self.kept(interpolation, scope) {
                Some(text) => Ok(Value::String(text.to_owned())),
                None => self.eval(&interpolation.expr, scope),
            },
            _ => self.template_text(template, 0, scope).map(Value::String),
        }
    }

    /// The text of a template of which the parser removed `indent` blanks from each line.
    pub(super) fn template_text(&self, template: &Template, indent: usize, scope: &Scope) -> EvalResult<String> {
        let mut text = String::new();
        self.render(Part { template, trim: Trim::default(), dedent: 0 }, indent, scope, &mut text)?;
        Ok(text)
    }

    /// The source text of an interpolation that is left for somebody else, spaces and all.
    fn kept(&self, interpolation: &Interpolation, scope: &Scope) -> Option<&str> {
        let keeps =
            scope.unknown_roots() == UnknownRoots::KeepLiteral && self.is_unknown_reference(&interpolation.expr, scope);
        keeps.then(|| self.slice(interpolation.span()))
    }

    fn render(&self, part: Part<'_>, indent: usize, scope: &Scope, text: &mut String) -> EvalResult<()> {
        let Part { template, trim, dedent } = part;
        let elements: Vec<&Element> = template.iter().collect();
        for (index, element) in elements.iter().enumerate() {
            match element {
                Element::Literal(literal) => {
                    let before = index.checked_sub(1).map_or(trim.start, |i| strips(elements[i]).end);
                    let after = elements.get(index + 1).map_or(trim.end, |next| strips(next).start);
                    let dedented = dedented(literal.as_str(), dedent);
                    let mut shown = dedented.as_ref();
                    if before {
                        shown = shown.trim_start();
                    }
                    if after {
                        shown = shown.trim_end();
                    }
                    self.charge(scope, shown.len(), self.locate(literal.span()))?;
                    text.push_str(shown);
                }
                Element::Interpolation(interpolation) => match self.kept(interpolation, scope) {
                    Some(source) => {
                        self.charge(scope, source.len(), self.span_of(&interpolation.expr))?;
                        text.push_str(source);
                    }
                    None => self.interpolate(&interpolation.expr, scope, text)?,
                },
                Element::Directive(directive) => match directive.as_ref() {
                    Directive::If(directive) => self.if_directive(directive, indent, scope, text)?,
                    Directive::For(directive) => self.for_directive(directive, indent, scope, text)?,
                },
            }
        }
        Ok(())
    }

    fn interpolate(&self, expression: &Expression, scope: &Scope, text: &mut String) -> EvalResult<()> {
        let span: Span = self.span_of(expression);
        let value = self.eval(expression, scope)?;
        let Some(part) = value.to_text() else {
            let message = format!("{} cannot be part of a string", value.kind());
            let help = (!value.is_null()).then(|| "use `join` or `jsonencode` to turn it into a string".to_owned());
            return Err(Fault::new(span, message).with_help(help));
        };
        self.charge(scope, part.len(), span)?;
        text.push_str(&part);
        Ok(())
    }

    fn if_directive(&self, directive: &IfDirective, indent: usize, scope: &Scope, text: &mut String) -> EvalResult<()> {
        let (opening, closing) = (sides(directive.if_expr.strip), sides(directive.endif_expr.strip));
        let middle = directive.else_expr.as_ref().map(|branch| (branch, sides(branch.strip)));
        let (template, trim) = if self.bool_operand(&directive.if_expr.cond_expr, scope, "if")? {
            let end = middle.map_or(closing.start, |(_, strip)| strip.start);
            (&directive.if_expr.template, Trim { start: opening.end, end })
        } else if let Some((branch, strip)) = middle {
            (&branch.template, Trim { start: strip.end, end: closing.start })
        } else {
            return Ok(());
        };
        self.render(Part { template, trim, dedent: indent }, indent, scope, text)
    }

    fn for_directive(
        &self,
        directive: &ForDirective,
        indent: usize,
        scope: &Scope,
        text: &mut String,
    ) -> EvalResult<()> {
        let intro = &directive.for_expr;
        let key_name = intro.key_var.as_ref().map(|name| name.as_str());
        let trim = Trim { start: sides(intro.strip).end, end: sides(directive.endfor_expr.strip).start };
        let part = Part { template: &intro.template, trim, dedent: indent };
        for inner in self.iterate(&intro.collection_expr, key_name, intro.value_var.as_str(), scope)? {
            self.render(part, indent, &inner, text)?;
        }
        Ok(())
    }
}

/// A literal with up to so many blanks less at the start of each line but the first, which goes on from before.
fn dedented(literal: &str, blanks: usize) -> Cow<'_, str> {
    if blanks == 0 || !literal.contains('\n') {
        return Cow::Borrowed(literal);
    }
    let mut lines = literal.split('\n');
    let mut text = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        let leading = line.chars().take(blanks).take_while(|c| c.is_whitespace()).map(char::len_utf8).sum();
        text.push('\n');
        text.push_str(&line[leading..]);
    }
    Cow::Owned(text)
}

/// Whether an element strips what stands before it (`start`) and behind it (`end`).
fn strips(element: &Element) -> Trim {
    match element {
        Element::Literal(_) => Trim::default(),
        Element::Interpolation(interpolation) => sides(interpolation.strip),
        Element::Directive(directive) => {
            let (first, last) = match directive.as_ref() {
                Directive::If(directive) => (directive.if_expr.strip, directive.endif_expr.strip),
                Directive::For(directive) => (directive.for_expr.strip, directive.endfor_expr.strip),
            };
            Trim { start: sides(first).start, end: sides(last).end }
        }
    }
}

fn sides(strip: Strip) -> Trim {
    match strip {
        Strip::None => Trim::default(),
        Strip::Start => Trim { start: true, end: false },
        Strip::End => Trim { start: false, end: true },
        Strip::Both => Trim { start: true, end: true },
    }
}
