//! A block's body as the lowering functions see it: typed values, each with its place remembered.

use std::cell::RefCell;
use std::collections::BTreeMap;

use orch_hcl::{Block, BodyReader, Labels, Scope};
use orch_model::admission::{FieldPath, Step};
use orch_model::time::Nanos;
use serde_json::Value;

use crate::places::Places;

/// A block's body: where it is in the job, and a reader that remembers where everything was written.
///
/// A value that cannot be read is reported and reads as absent.
#[derive(Debug)]
pub(super) struct Body<'d, 'p> {
    reader: BodyReader<'d>,
    path: FieldPath,
    places: &'p RefCell<Places>,
}

impl<'d, 'p> Body<'d, 'p> {
    /// The body of the job block.
    pub(super) fn of_job(block: &Block<'d>, scope: Scope, places: &'p RefCell<Places>) -> Self {
        places.borrow_mut().note(&FieldPath::default(), block.span());
        Self { reader: block.reader_in(scope).with_dynamic_blocks(), path: FieldPath::default(), places }
    }

    fn child(&self, block: &Block<'d>, step: Step) -> Self {
        let path = self.path_of(step);
        self.places.borrow_mut().note(&path, block.span());
        Self { reader: block.reader(), path, places: self.places }
    }

    /// The same body as if it stood in a further block.
    pub(super) fn within(mut self, around: Step) -> Self {
        self.path.0.insert(self.path.0.len().saturating_sub(1), around);
        let mut places = self.places.borrow_mut();
        for length in [self.path.0.len() - 1, self.path.0.len()] {
            places.note(&FieldPath(self.path.0[..length].to_vec()), self.reader.span());
        }
        drop(places);
        self
    }

    /// Where a field of this body is in the job.
    pub(super) fn path_of(&self, step: Step) -> FieldPath {
        let mut path = self.path.clone();
        path.0.push(step);
        path
    }

    /// Where this body is in the job.
    pub(super) fn path(&self) -> FieldPath {
        self.path.clone()
    }

    /// Gives the fields of the block `to` of a job the places of those of `from`, as far as they have none.
    pub(super) fn inherit(&self, from: &FieldPath, to: &FieldPath) {
        self.places.borrow_mut().inherit(from, to);
    }

    /// Whether an attribute or block of that name is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.reader.contains(key)
    }

    fn read<T>(&mut self, key: &'static str, read: impl FnOnce(&mut BodyReader<'d>) -> T) -> T {
        let before = self.reader.diagnostics().len();
        let value = read(&mut self.reader);
        let path = self.path_of(Step::Attr(key));
        let mut places = self.places.borrow_mut();
        if self.reader.diagnostics().len() > before {
            places.mark_failed(&path);
        }
        if self.reader.contains(key) {
            places.note(&path, self.reader.place_of(key));
        }
        value
    }

    /// Reports an attribute.
    pub(super) fn refuse(&mut self, key: &'static str, message: &str) {
        let span = self.reader.place_of(key);
        self.reader.error(span, message);
        self.places.borrow_mut().mark_failed(&self.path_of(Step::Attr(key)));
    }

    /// Reports the block itself.
    pub(super) fn refuse_block(&self, message: &str) {
        self.reader.error(self.reader.span(), message);
    }

    /// Warns about an attribute or block.
    pub(super) fn warn(&self, key: &str, message: &str) {
        self.reader.warning(self.reader.place_of(key), message);
    }

    /// Reports an attribute that is missing.
    pub(super) fn require(&mut self, key: &'static str) {
        self.read(key, |reader| reader.require(key));
    }

    /// A text.
    pub(super) fn opt_text(&mut self, key: &'static str) -> Option<String> {
        self.read(key, |reader| reader.opt_string(key))
    }

    /// A text, empty where there is none.
    pub(super) fn text(&mut self, key: &'static str) -> String {
        self.opt_text(key).unwrap_or_default()
    }

    /// A text with its default.
    pub(super) fn text_or(&mut self, key: &'static str, default: &str) -> String {
        self.opt_text(key).unwrap_or_else(|| default.to_owned())
    }

    /// A whole number.
    pub(super) fn opt_int(&mut self, key: &'static str) -> Option<i64> {
        self.read(key, |reader| reader.opt_i64(key))
    }

    /// A whole number, 0 where there is none.
    pub(super) fn int(&mut self, key: &'static str) -> i64 {
        self.opt_int(key).unwrap_or_default()
    }

    /// A truth.
    pub(super) fn opt_flag(&mut self, key: &'static str) -> Option<bool> {
        self.read(key, |reader| reader.opt_bool(key))
    }

    /// A truth, false where there is none.
    pub(super) fn flag(&mut self, key: &'static str) -> bool {
        self.opt_flag(key).unwrap_or_default()
    }

    /// A duration.
    pub(super) fn opt_nanos(&mut self, key: &'static str) -> Option<Nanos> {
        self.read(key, |reader| reader.opt_duration_ns(key)).map(Nanos)
    }

    /// A duration, zero where there is none.
    pub(super) fn nanos(&mut self, key: &'static str) -> Nanos {
        self.opt_nanos(key).unwrap_or_default()
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<String> {
        self.read(key, |reader| reader.opt_string_list(key)).unwrap_or_default()
    }

    /// A list of whole numbers.
    pub(super) fn ints(&mut self, key: &'static str) -> Vec<i64> {
        let texts = self.texts(key);
        let numbers: Result<Vec<i64>, _> = texts.iter().map(|text| text.parse()).collect();
        numbers.unwrap_or_else(|_| {
            self.refuse(key, &format!("`{key}` must be a list of whole numbers"));
            Vec::new()
        })
    }

    /// Texts by name, as block or as attribute.
    pub(super) fn text_map(&mut self, key: &'static str) -> BTreeMap<String, String> {
        self.read(key, |reader| reader.opt_string_map_or_block(key)).unwrap_or_default()
    }

    /// Lists of texts by name, as block or as attribute.
    pub(super) fn text_lists(&mut self, key: &'static str) -> BTreeMap<String, Vec<String>> {
        let given = self.read(key, |reader| reader.opt_value_map_or_block(key)).unwrap_or_default();
        let lists: Option<BTreeMap<_, _>> = given
            .into_iter()
            .map(|(name, value)| {
                let texts = value.as_list()?.iter().map(|text| text.to_text().map(|text| text.into_owned()));
                Some((name, texts.collect::<Option<Vec<_>>>()?))
            })
            .collect();
        lists.unwrap_or_else(|| {
            self.refuse(key, &format!("`{key}` must hold lists of strings, such as Accept = [\"text/html\"]"));
            BTreeMap::new()
        })
    }

    /// A free-form block.
    pub(super) fn values(&mut self, key: &'static str) -> BTreeMap<String, Value> {
        let given = self.read(key, |reader| reader.opt_free_form(key)).unwrap_or_default();
        given.into_iter().map(|(name, value)| (name, value.to_json())).collect()
    }

    /// The block of that kind, of which there is at most one.
    pub(super) fn block(&mut self, kind: &'static str) -> Option<Self> {
        let block = self.found(kind, |reader| reader.at_most_one(kind))?;
        Some(self.child(&block, Step::Nth(kind, 0)))
    }

    /// All blocks of that kind, which have no labels.
    pub(super) fn blocks(&mut self, kind: &'static str) -> Vec<Self> {
        let blocks = self.found(kind, |reader| reader.blocks(kind));
        blocks.iter().enumerate().map(|(i, block)| self.child(block, Step::Nth(kind, i))).collect()
    }

    /// All blocks of that kind with their labels; `label` says what the label is.
    pub(super) fn labelled(&mut self, kind: &'static str, label: &str) -> Vec<(String, Self)> {
        let blocks = self.found(kind, |reader| reader.blocks_with(kind, Labels::Exactly(&[label])));
        let labelled = blocks.iter().map(|block| {
            let label = block.label(0).to_owned();
            (label.clone(), self.child(block, Step::Block(kind, label)))
        });
        labelled.collect()
    }

    fn found<T>(&mut self, kind: &'static str, find: impl FnOnce(&mut BodyReader<'d>) -> T) -> T {
        let before = self.reader.diagnostics().len();
        let found = find(&mut self.reader);
        if self.reader.diagnostics().len() > before {
            self.places.borrow_mut().mark_failed(&self.path_of(Step::Attr(kind)));
        }
        found
    }

    /// Reports whatever else stands in it.
    pub(super) fn finish(self) {
        let diagnostics = self.reader.diagnostics();
        let before = diagnostics.len();
        self.reader.finish();
        if diagnostics.len() > before {
            self.places.borrow_mut().mark_misspelt(&self.path);
        }
    }
}
