//! What running a job would change, as text.

use orch_model::diff::{DiffType, FieldDiff, JobDiff, ObjectDiff, TaskDiff, TaskGroupDiff};

use crate::output::Style;

/// The difference, with a line end after the last line.
pub(super) fn render(diff: &JobDiff, verbose: bool, style: Style) -> String {
    let mut text = Text { style, verbose, lines: String::new() };
    text.job(diff);
    text.lines
}

struct Text {
    style: Style,
    verbose: bool,
    lines: String,
}

/// How wide the widest marker is, with a space after it.
fn marker(kind: DiffType) -> &'static str {
    match kind {
        DiffType::Added => "+ ",
        DiffType::Deleted => "- ",
        DiffType::Edited => "+/- ",
        DiffType::None => "",
    }
}

impl Text {
    fn line(&mut self, indent: usize, kind: DiffType, width: usize, text: &str) {
        let marker = marker(kind);
        let coloured = match kind {
            DiffType::Added => self.style.green(marker),
            DiffType::Deleted => self.style.red(marker),
            DiffType::Edited => self.style.yellow(marker),
            DiffType::None => String::new(),
        };
        let pad = " ".repeat(width.saturating_sub(marker.len()));
        self.lines.push_str(&format!("{}{coloured}{pad}{text}", " ".repeat(indent)));
        self.lines.push('\n');
    }

    fn job(&mut self, diff: &JobDiff) {
        self.line(0, diff.r#type, 0, &format!("Job: \"{}\"", diff.id));
        if diff.r#type == DiffType::Edited || self.verbose {
            self.body(0, &diff.fields, &diff.objects);
        }
        for group in &diff.task_groups {
            self.group(group);
        }
    }

    fn group(&mut self, diff: &TaskGroupDiff) {
        let mut updates: Vec<String> = diff.updates.iter().map(|(label, count)| format!("{count} {label}")).collect();
        updates.sort_by(|a, b| a.split_once(' ').map(|x| x.1).cmp(&b.split_once(' ').map(|x| x.1)));
        let notes = if updates.is_empty() { String::new() } else { format!(" ({})", updates.join(", ")) };
        self.line(0, diff.r#type, 0, &format!("Task Group: \"{}\"{notes}", diff.name));
        if diff.r#type == DiffType::Edited || self.verbose {
            self.body(2, &diff.fields, &diff.objects);
        }
        for task in &diff.tasks {
            self.task(task);
        }
        self.lines.push('\n');
    }

    fn task(&mut self, diff: &TaskDiff) {
        self.line(2, diff.r#type, 0, &format!("Task: \"{}\"{}", diff.name, annotated(&diff.annotations)));
        let whole = matches!(diff.r#type, DiffType::Added | DiffType::Deleted | DiffType::None);
        if !whole || self.verbose {
            self.body(4, &diff.fields, &diff.objects);
        }
    }

    /// Fields, then blocks, with the names below each other.
    fn body(&mut self, indent: usize, fields: &[FieldDiff], objects: &[ObjectDiff]) {
        let kinds = fields.iter().map(|field| field.r#type).chain(objects.iter().map(|object| object.r#type));
        let width = kinds.map(|kind| marker(kind).len()).max().unwrap_or(0);
        let longest = fields.iter().map(|field| field.name.chars().count()).max().unwrap_or(0);
        for field in fields {
            self.field(indent, width, longest, field);
        }
        for object in objects {
            self.line(indent, object.r#type, width, &format!("{} {{", object.name));
            self.body(indent + width, &object.fields, &object.objects);
            self.lines.push_str(&format!("{}}}\n", " ".repeat(indent + width)));
        }
    }

    fn field(&mut self, indent: usize, width: usize, longest: usize, field: &FieldDiff) {
        let FieldDiff { r#type, name, old, new, annotations } = field;
        let gap = " ".repeat(longest.saturating_sub(name.chars().count()) + 1);
        let value = match r#type {
            DiffType::Added | DiffType::None => format!("{new:?}"),
            DiffType::Deleted => format!("{old:?}"),
            DiffType::Edited => format!("{old:?} => {new:?}"),
        };
        self.line(indent, *r#type, width, &format!("{name}:{gap}{value}{}", annotated(annotations)));
    }
}

fn annotated(notes: &[String]) -> String {
    if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(r#type: DiffType, name: &str, old: &str, new: &str, notes: &[&str]) -> FieldDiff {
        let annotations = notes.iter().map(|note| (*note).to_owned()).collect();
        FieldDiff { r#type, name: name.into(), old: old.into(), new: new.into(), annotations }
    }

    #[test]
    fn an_edited_job_shows_what_changes_and_what_that_forces() {
        let config = ObjectDiff {
            r#type: DiffType::Edited,
            name: "Config".into(),
            fields: vec![
                field(DiffType::Edited, "image", "a:1", "a:2", &[]),
                field(DiffType::Added, "port", "", "80", &[]),
                field(DiffType::None, "args[0]", "x", "x", &[]),
            ],
            objects: vec![],
        };
        let diff = JobDiff {
            r#type: DiffType::Edited,
            id: "web".into(),
            task_groups: vec![TaskGroupDiff {
                r#type: DiffType::Edited,
                name: "front".into(),
                fields: vec![field(DiffType::Edited, "Count", "1", "2", &["forces create"])],
                tasks: vec![TaskDiff {
                    r#type: DiffType::Edited,
                    name: "app".into(),
                    objects: vec![config],
                    annotations: vec!["forces create/destroy update".into()],
                    ..TaskDiff::default()
                }],
                updates: [("ignore".to_owned(), 1), ("create/destroy update".to_owned(), 2)].into(),
                ..TaskGroupDiff::default()
            }],
            ..JobDiff::default()
        };
        let expected = r#"+/- Job: "web"
+/- Task Group: "front" (2 create/destroy update, 1 ignore)
  +/- Count: "1" => "2" (forces create)
  +/- Task: "app" (forces create/destroy update)
    +/- Config {
        +/- image:   "a:1" => "a:2"
        +   port:    "80"
            args[0]: "x"
        }

"#;
        assert_eq!(render(&diff, false, Style::Plain), expected);
    }
}
