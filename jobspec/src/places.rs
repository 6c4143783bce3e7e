//! Where in the text each field of a job was written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use orch_hcl::{Source, Span};
use orch_model::admission::{FieldPath, Step};

/// Where in the text each block and attribute of a job was written, by the paths that admission reports.
///
/// A field that was inherited (a group's update from the job, a task's vault from its group) has the place it was
/// inherited from.
#[derive(Debug, Clone)]
pub struct Places {
    source: Arc<Source>,
    spans: BTreeMap<FieldPath, Span>,
    /// Attributes whose value could not be read, and kinds of blocks of which one could not.
    failed: BTreeSet<FieldPath>,
    /// Blocks that hold names which nobody knows.
    misspelt: BTreeSet<FieldPath>,
}

impl Places {
    pub(crate) fn new(source: Arc<Source>) -> Self {
        Self { source, spans: BTreeMap::new(), failed: BTreeSet::new(), misspelt: BTreeSet::new() }
    }

    /// The text that the places are in.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Where a field was written; if it was not, the header of the nearest block around it. `None` without a job block.
    pub fn locate(&self, path: &FieldPath) -> Option<Span> {
        let mut path = normal(path);
        loop {
            if let Some(span) = self.spans.get(&path) {
                return Some(*span);
            }
            path.0.pop()?;
        }
    }

    /// The place of the field that a sentence begins with, in the words of [`FieldPath`]'s `Display`.
    pub(crate) fn locate_sentence(&self, sentence: &str) -> Option<Span> {
        let sentence = without_first_index(sentence);
        let begins_with = |path: &FieldPath| {
            let shown = without_first_index(&path.to_string());
            let rest = sentence.strip_prefix(&shown)?;
            [": ", " (and ", " > ", "."].iter().any(|end| rest.starts_with(end)).then_some(shown.len())
        };
        let candidates = self.spans.iter().filter_map(|(path, span)| Some((begins_with(path)?, *span)));
        candidates.max_by_key(|(length, _)| *length).map(|(_, span)| span)
    }

    /// Whether admission complains about a field only because its text could not be read.
    pub(crate) fn was_not_read(&self, path: &FieldPath) -> bool {
        let path = normal(path);
        match path.0.split_last() {
            Some((Step::Attr(_), parent)) => {
                let is_absent = !self.spans.contains_key(&path);
                self.failed.contains(&path) || (is_absent && self.misspelt.contains(&FieldPath(parent.to_vec())))
            }
            Some((Step::Block(..) | Step::Nth(..), _)) | None => {
                below(&path, self.failed.range(&path..)).any(|failed| failed.0.len() == path.0.len() + 1)
            }
        }
    }

    /// Remembers a place; the first one of a path counts.
    pub(crate) fn note(&mut self, path: &FieldPath, span: Span) {
        self.spans.entry(normal(path)).or_insert(span);
    }

    pub(crate) fn mark_failed(&mut self, path: &FieldPath) {
        self.failed.insert(normal(path));
    }

    pub(crate) fn mark_misspelt(&mut self, path: &FieldPath) {
        self.misspelt.insert(normal(path));
    }

    /// Gives everything in the block `to` that has no place the one of its counterpart in the block `from`.
    pub(crate) fn inherit(&mut self, from: &FieldPath, to: &FieldPath) {
        let (from, to) = (normal(from), normal(to));
        let moved = |path: &FieldPath| FieldPath([to.0.as_slice(), &path.0[from.0.len()..]].concat());
        let spans = self.spans.range(&from..).take_while(|(path, _)| path.0.starts_with(&from.0));
        let spans: Vec<_> = spans.map(|(path, span)| (moved(path), *span)).collect();
        let failed: Vec<_> = below(&from, self.failed.range(&from..)).map(moved).collect();
        for (path, span) in spans {
            self.spans.entry(path).or_insert(span);
        }
        self.failed.extend(failed);
    }
}

fn below<'p>(block: &FieldPath, paths: impl Iterator<Item = &'p FieldPath>) -> impl Iterator<Item = &'p FieldPath> {
    paths.take_while(|path| path.0.starts_with(&block.0))
}

/// One of several spellings of a path: the only block of its kind is the first of its kind.
fn normal(path: &FieldPath) -> FieldPath {
    let steps = path.0.iter().map(|step| match step {
        Step::Block(name, label) if label.is_empty() => Step::Nth(name, 0),
        Step::Block(..) | Step::Nth(..) | Step::Attr(_) => step.clone(),
    });
    FieldPath(steps.collect())
}

fn without_first_index(text: &str) -> String {
    text.replace("[0]", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(step: Step) -> FieldPath {
        FieldPath(vec![Step::Block("group", "web".into()), step])
    }

    fn places() -> Places {
        let mut places = Places::new(Arc::new(Source::new("x", "")));
        places.note(&FieldPath::default(), Span::new(1, 2));
        places.note(&group(Step::Nth("constraint", 0)), Span::new(3, 4));
        places.note(&group(Step::Attr("count")), Span::new(5, 6));
        places
    }

    #[test]
    fn a_field_that_was_not_written_is_at_the_nearest_block() {
        let places = places();
        assert_eq!(places.locate(&group(Step::Attr("count"))), Some(Span::new(5, 6)));
        assert_eq!(places.locate(&group(Step::Block("constraint", String::new()))), Some(Span::new(3, 4)));
        assert_eq!(places.locate(&group(Step::Attr("meta"))), Some(Span::new(1, 2)));
        assert_eq!(Places::new(Arc::new(Source::new("x", ""))).locate(&FieldPath::default()), None);
    }

    #[test]
    fn the_field_that_a_sentence_begins_with_is_found() {
        let places = places();
        let at = |sentence| places.locate_sentence(sentence);
        assert_eq!(at("group \"web\" > count: is odd"), Some(Span::new(5, 6)));
        assert_eq!(at("group \"web\" > constraint (and 2 more): are odd"), Some(Span::new(3, 4)));
        assert_eq!(at("job: is odd"), Some(Span::new(1, 2)));
        assert_eq!(at("something else"), None);
    }

    #[test]
    fn inheriting_fills_only_what_has_no_place() {
        let mut places = places();
        let at_job = |step| FieldPath(vec![Step::Nth("update", 0), step]);
        places.note(&at_job(Step::Attr("canary")), Span::new(7, 8));
        places.note(&at_job(Step::Attr("stagger")), Span::new(9, 10));
        let mut canary = group(Step::Nth("update", 0));
        canary.0.push(Step::Attr("canary"));
        places.note(&canary, Span::new(11, 12));
        places.inherit(&FieldPath(vec![Step::Nth("update", 0)]), &group(Step::Nth("update", 0)));
        assert_eq!(places.locate(&canary), Some(Span::new(11, 12)));
        canary.0.pop();
        canary.0.push(Step::Attr("stagger"));
        assert_eq!(places.locate(&canary), Some(Span::new(9, 10)));
    }
}
