//! `dynamic "port" { for_each .. content {} }`: blocks made from the elements of a collection.

use hcl_edit::structure::Block as NativeBlock;

use crate::block::{Block, Context, Label, span_of};
use crate::decode::BodyReader;
use crate::eval::{EvalResult, Fault, OVER_BUDGET, Step, steps};
use crate::expr::{self, Expr};
use crate::source::Span;
use crate::syntax::BodyRef;
use crate::value::Value;

/// What one generated block costs of the evaluation budget.
const BLOCK_COST: usize = 1000;

/// The block type that a block stands for: that of its label if it is `dynamic`, else its own.
pub(crate) fn target(block: &NativeBlock, dynamic: bool) -> &str {
    match block.labels.first() {
        Some(label) if dynamic && block.has_ident("dynamic") => label.as_str(),
        _ => block.ident.as_str(),
    }
}

/// The blocks that a block stands for: itself, or what a `dynamic` block makes. Faults are recorded.
pub(crate) fn occurrences<'d>(context: &Context<'d>, block: &'d NativeBlock) -> Vec<Block<'d>> {
    let labels: Vec<Label> =
        block.labels.iter().map(|label| Label { text: label.as_str().to_owned(), span: span_of(label) }).collect();
    let span = labels.iter().fold(span_of(&block.ident), |span, label| span.join(label.span));
    let body = BodyRef::Native(&block.body);
    if !(context.dynamic && block.has_ident("dynamic")) {
        let kind = block.ident.as_str().to_owned();
        return vec![Block { context: context.clone(), kind, labels, span, body }];
    }
    match labels.as_slice() {
        [label] => generate(context, &label.text, span, body),
        _ => {
            let message = "`dynamic` needs one label: the type of the blocks to make";
            context.diagnostics.error(context.source, span, message);
            Vec::new()
        }
    }
}

/// The blocks that the body of a `dynamic` block makes. Faults are recorded.
pub(crate) fn generate<'d>(context: &Context<'d>, kind: &str, span: Span, body: BodyRef<'d>) -> Vec<Block<'d>> {
    let Some(generator) = Generator::read(context, kind, span, body) else { return Vec::new() };
    match generator.run() {
        Ok(blocks) => blocks,
        Err(fault) => {
            context.diagnostics.push(*expr::diagnostic(context.source, *fault));
            Vec::new()
        }
    }
}

struct Generator<'c, 'd> {
    context: &'c Context<'d>,
    kind: &'c str,
    span: Span,
    for_each: Expr<'d>,
    iterator: String,
    labels: Option<Expr<'d>>,
    content: BodyRef<'d>,
}

impl<'c, 'd> Generator<'c, 'd> {
    fn read(context: &'c Context<'d>, kind: &'c str, span: Span, body: BodyRef<'d>) -> Option<Self> {
        // What is inside `content` is expanded for each block it makes, not here.
        let plain = Context { dynamic: false, ..context.clone() };
        let mut reader = BodyReader::in_context(plain, body, span, format!("`dynamic \"{kind}\"`"));
        reader.require("for_each");
        let for_each = reader.attribute("for_each");
        let iterator = match reader.attribute("iterator") {
            Some(attribute) => {
                let name = attribute.expr.as_name();
                if name.is_none() {
                    reader.error(attribute.expr.span(), "`iterator` must be a plain name");
                }
                name?.to_owned()
            }
            None => kind.to_owned(),
        };
        let labels = reader.attribute("labels").map(|attribute| attribute.expr);
        let content = reader.at_most_one("content");
        if content.is_none() {
            reader.error(span, format!("`dynamic \"{kind}\"` needs a `content` block"));
        }
        reader.finish();
        Some(Self { context, kind, span, for_each: for_each?.expr, iterator, labels, content: content?.body })
    }

    fn run(&self) -> EvalResult<Vec<Block<'d>>> {
        let collection = self.for_each.eval(&self.context.scope)?;
        let kind = collection.kind();
        let steps = steps(collection)
            .ok_or_else(|| Fault::new(self.for_each.span(), format!("`for_each` cannot go through {kind}")))?;
        if !self.context.scope.charge(steps.len().saturating_mul(BLOCK_COST)) {
            return Err(Fault::new(self.for_each.span(), OVER_BUDGET));
        }
        steps.into_iter().map(|step| self.block(step)).collect()
    }

    fn block(&self, step: Step) -> EvalResult<Block<'d>> {
        let element = Value::Map([("key".to_owned(), step.key), ("value".to_owned(), step.value)].into());
        let scope = self.context.scope.with(self.iterator.as_str(), element);
        let context = Context { scope, ..self.context.clone() };
        let labels = self.labels(&context)?;
        let (kind, body) = (self.kind.to_owned(), self.content.clone());
        Ok(Block { context, kind, labels, span: self.span, body })
    }

    fn labels(&self, context: &Context<'d>) -> EvalResult<Vec<Label>> {
        let Some(expr) = self.labels else { return Ok(Vec::new()) };
        let span = expr.span();
        let value = expr.eval(&context.scope)?;
        let misfit = || Fault::new(span, "`labels` must be a list of strings");
        let labels = value.as_list().ok_or_else(misfit)?.iter().map(|label| {
            let text = label.to_text().ok_or_else(misfit)?.into_owned();
            Ok(Label { text, span })
        });
        labels.collect()
    }
}
