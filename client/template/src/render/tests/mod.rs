//! What templates become: expressions with the text that Go, consul-template and Sprig make of them.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use super::*;
use crate::data::{Answer, Local, Service, ServiceName, Variable, VariablePath};

mod functions;
mod language;
mod limits;
mod nomad;

/// A task with some files and variables.
struct Task {
    dir: tempfile::TempDir,
    data: Local,
}

impl Task {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("web/local")).unwrap();
        fs::create_dir_all(dir.path().join("alloc")).unwrap();
        fs::write(dir.path().join("web/local/app.json"), r#"{"name": "app", "port": 8080, "tags": ["a", "b"]}"#)
            .unwrap();
        let env = [("NOMAD_PORT_http", "8080"), ("EMPTY", ""), ("LIST", " a,b,c ")];
        let env = env.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        Self { dir, data: Local { env } }
    }

    fn sandbox(&self) -> Sandbox {
        Sandbox::new(self.dir.path().join("web"), self.dir.path().join("alloc"))
    }

    fn render(&self, template: &Template) -> Result<Rendered, Error> {
        render(template, &self.data, &self.sandbox(), Limits::default())
    }
}

fn template(text: &str) -> Template {
    Template::new(Source::Inline(text.to_owned()), "local/out")
}

fn rendered(task: &Task, text: &str) -> String {
    match task.render(&template(text)) {
        Ok(rendered) if rendered.missing.is_empty() => String::from_utf8(rendered.content).unwrap(),
        Ok(rendered) => format!("missing: {:?}", rendered.missing),
        Err(error) => format!("error: {error}"),
    }
}

/// Renders each text and compares it with what it should become.
fn expect(cases: &[(&str, &str)]) {
    let task = Task::new();
    for (text, expected) in cases {
        assert_eq!(rendered(&task, text), *expected, "{text}");
    }
}

/// Renders each text and looks for a part of the error.
fn expect_errors(cases: &[(&str, &str)]) {
    let task = Task::new();
    for (text, part) in cases {
        let result = rendered(&task, text);
        assert!(result.starts_with("error: template local/out line 1: ") && result.contains(part), "{text}: {result}");
    }
}
