use std::fs;
use std::sync::Mutex;

use super::*;
use crate::data::{Answer, Service, ServiceName, Variable, VariablePath};
use crate::template::Source;

/// Variables that the test sets.
struct Fake {
    values: Mutex<BTreeMap<String, String>>,
    count: watch::Sender<u64>,
}

impl Fake {
    fn set(&self, path: &str, value: &str) {
        self.values.lock().unwrap().insert(path.into(), value.into());
        self.count.send_modify(|count| *count += 1);
    }
}

impl Data for Fake {
    fn env(&self, name: &str) -> Option<String> {
        (name == "NAME").then(|| "web".to_owned())
    }

    fn service(&self, _: &str) -> Answer<Vec<Service>> {
        Answer::Missing
    }

    fn services(&self) -> Answer<Vec<ServiceName>> {
        Answer::Missing
    }

    fn variable(&self, path: &VariablePath) -> Answer<Variable> {
        let Some(value) = self.values.lock().unwrap().get(&path.path).cloned() else { return Answer::Missing };
        Answer::Found(Variable { path: path.clone(), items: BTreeMap::from([("v".into(), value)]) })
    }

    fn variable_exists(&self, _: &VariablePath) -> Answer<bool> {
        Answer::Missing
    }

    fn variables(&self, _: &VariablePath) -> Answer<Vec<VariablePath>> {
        Answer::Missing
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.count.subscribe())
    }
}

struct Test {
    dir: tempfile::TempDir,
    data: Arc<Fake>,
    config: Config,
}

/// A manager at work; the updates end when it does.
struct Running {
    updates: mpsc::Receiver<Update>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Test {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("web/local")).unwrap();
        fs::create_dir_all(dir.path().join("alloc")).unwrap();
        let config = Config::new(Sandbox::new(dir.path().join("web"), dir.path().join("alloc")));
        let data = Arc::new(Fake { values: Mutex::default(), count: watch::Sender::new(0) });
        Self { dir, data, config }
    }

    fn start(&self, templates: Vec<Template>) -> Running {
        let (manager, updates) = Manager::new(templates, self.data.clone(), self.config.clone());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(manager.run(shutdown.clone()));
        Running { updates, shutdown, task }
    }

    fn write(&self, path: &str, content: &str) {
        fs::write(self.dir.path().join("web").join(path), content).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.dir.path().join("web").join(path)).unwrap()
    }
}

impl Running {
    async fn next(&mut self) -> Update {
        self.updates.recv().await.expect("the templates are still kept")
    }

    /// The next update, and how long it took to come.
    async fn timed(&mut self) -> (Update, Duration) {
        let began = Instant::now();
        let update = self.next().await;
        (update, began.elapsed())
    }

    async fn ended(mut self) {
        assert_eq!(self.updates.recv().await, None);
        self.task.await.unwrap();
    }
}

fn inline(text: &str, destination: &str) -> Template {
    Template::new(Source::Inline(text.into()), destination)
}

fn change(templates: &[usize]) -> Change {
    Change { templates: templates.to_vec(), env: BTreeMap::new() }
}

#[tokio::test(start_paused = true)]
async fn templates_that_need_nothing_are_written_and_done() {
    let test = Test::new();
    let env = Template { env: true, ..inline("A=1\nB='x {{ env \"NAME\" }}'", "secrets/env") };
    let more = Template { env: true, ..inline("A=2", "local/env") };
    let mut running = test.start(vec![inline("hello {{ env \"NAME\" }}", "local/a/b"), env, more]);
    let env = BTreeMap::from([("A".into(), "2".into()), ("B".into(), "x web".into())]);
    assert_eq!(running.next().await, Update::Ready(Change { templates: vec![0, 1, 2], env }));
    assert_eq!(test.read("local/a/b"), "hello web");
    assert_eq!(test.read("secrets/env"), "A=1\nB='x web'");
    running.ended().await;
}

#[tokio::test(start_paused = true)]
async fn the_task_waits_for_what_is_missing_and_is_told_at_most_every_three_seconds() {
    let test = Test::new();
    let text = "{{ with nomadVar \"a\" }}{{ .v }}{{ end }}{{ nomadVar \"b\" }}{{ nomadVar \"c\" }}{{ nomadVar \"d\" }}{{ nomadVar \"e\" }}";
    let mut running = test.start(vec![inline(text, "local/x"), inline("y", "local/y")]);
    let (update, took) = running.timed().await;
    let names = ["a", "b", "c"].map(|name| format!("nomad.var.block({name})")).join(", ");
    assert_eq!(update, Update::Missing(format!("Missing: {names}, and 2 more")));
    assert!(took >= Duration::from_secs(3), "{took:?}");
    assert_eq!(test.read("local/y"), "y", "what needs nothing is there already");
    for name in ["a", "c", "d"] {
        test.data.set(name, name);
    }
    let (update, took) = running.timed().await;
    assert_eq!(update, Update::Missing("Missing: nomad.var.block(b), nomad.var.block(e)".into()));
    assert!(took >= Duration::from_secs(2), "{took:?}");
    test.data.set("b", "b");
    test.data.set("e", "e");
    assert_eq!(running.next().await, Update::Ready(change(&[0, 1])));
    assert_eq!(test.read("local/x"), "amap[v:b]map[v:c]map[v:d]map[v:e]");
    running.shutdown.cancel();
    running.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_is_written_and_told_once_and_only_if_it_shows() {
    let test = Test::new();
    test.data.set("a", "1");
    test.data.set("b", "1");
    let b = Template { env: true, ..inline("B={{ (nomadVar \"b\").v }}", "local/b") };
    let mut running = test.start(vec![inline("{{ (nomadVar \"a\").v }}", "local/a"), b]);
    let env = |value: &str| BTreeMap::from([("B".to_owned(), value.to_owned())]);
    assert_eq!(running.next().await, Update::Ready(Change { templates: vec![0, 1], env: env("1") }));
    test.data.set("c", "other");
    test.data.set("b", "2");
    assert_eq!(running.next().await, Update::Changed(Change { templates: vec![1], env: env("2") }));
    test.data.set("a", "2");
    assert_eq!(running.next().await, Update::Changed(Change { templates: vec![0], env: env("2") }));
    assert_eq!((test.read("local/a"), test.read("local/b")), ("2".into(), "B=2".into()));
    running.shutdown.cancel();
    running.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_is_noticed() {
    let test = Test::new();
    let mut running = test.start(vec![
        inline("<{{ file \"local/first\" }}>", "local/second"),
        inline("{{ file \"local/in\" }}", "local/first"),
    ]);
    let (update, _) = running.timed().await;
    assert_eq!(update, Update::Missing("Missing: file(local/first), file(local/in)".into()));
    test.write("local/in", "one");
    assert_eq!(running.next().await, Update::Ready(change(&[0, 1])), "one template may read what another one makes");
    assert_eq!(test.read("local/second"), "<one>");
    test.write("local/in", "two");
    assert_eq!(running.next().await, Update::Changed(change(&[1])));
    assert_eq!(running.next().await, Update::Changed(change(&[0])));
    assert_eq!(test.read("local/second"), "<two>");
    running.shutdown.cancel();
    running.ended().await;
}

#[tokio::test(start_paused = true)]
async fn changes_are_collected_as_long_as_the_template_says() {
    let mut test = Test::new();
    test.config.wait = Some(Wait { min: Duration::from_secs(5), max: Duration::from_secs(12) });
    test.data.set("a", "0");
    let hasty = Template {
        wait: Some(Wait { min: Duration::from_secs(1), max: Duration::from_secs(1) }),
        ..inline("{{ (nomadVar \"a\").v }}", "local/hasty")
    };
    let mut running = test.start(vec![inline("{{ (nomadVar \"a\").v }}", "local/a"), hasty]);
    let (update, took) = running.timed().await;
    assert_eq!((update, took), (Update::Ready(change(&[0, 1])), Duration::ZERO), "the first time there is no waiting");
    let began = Instant::now();
    test.data.set("a", "1");
    let (update, took) = running.timed().await;
    assert_eq!((update, took.as_secs()), (Update::Changed(change(&[1])), 1));
    let (update, _) = running.timed().await;
    assert_eq!((update, began.elapsed().as_secs()), (Update::Changed(change(&[0])), 5));
    // One change each three seconds: there is never quiet for five, so after twelve it is rendered all the same.
    let began = Instant::now();
    let mut next = tokio::time::interval(Duration::from_secs(3));
    let mut number = 1;
    let update = loop {
        tokio::select! {
            _ = next.tick() => {
                number += 1;
                test.data.set("a", &number.to_string());
            }
            update = running.next() => match update {
                Update::Changed(changed) if changed.templates == [1] => {}
                other => break other,
            },
        }
    };
    assert!(matches!(&update, Update::Changed(changed) if changed.templates.contains(&0)), "{update:?}");
    assert_eq!(began.elapsed().as_secs(), 12);
    running.shutdown.cancel();
    running.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_template_that_is_rendered_once_stays_as_it_is() {
    let test = Test::new();
    test.data.set("a", "1");
    let once = Template { once: true, ..inline("{{ (nomadVar \"a\").v }}", "local/a") };
    let mut running = test.start(vec![once.clone(), inline("{{ (nomadVar \"a\").v }}", "local/b")]);
    assert_eq!(running.next().await, Update::Ready(change(&[0, 1])));
    test.data.set("a", "2");
    assert_eq!(running.next().await, Update::Changed(change(&[1])));
    assert_eq!(test.read("local/a"), "1");
    running.shutdown.cancel();
    running.ended().await;
    let mut alone = test.start(vec![once]);
    assert_eq!(alone.next().await, Update::Ready(change(&[0])));
    alone.ended().await;
}

#[tokio::test(start_paused = true)]
async fn to_a_restored_task_what_differs_is_a_change() {
    let mut test = Test::new();
    test.config.restored = true;
    test.data.set("a", "new");
    test.write("local/a", "old");
    test.write("local/b", "same");
    let templates = vec![inline("{{ (nomadVar \"a\").v }}", "local/a"), inline("same", "local/b")];
    let mut running = test.start(templates.clone());
    assert_eq!(running.next().await, Update::Ready(change(&[])));
    assert_eq!(running.next().await, Update::Changed(change(&[0])));
    running.shutdown.cancel();
    running.ended().await;
    let mut running = test.start(templates);
    assert_eq!(running.next().await, Update::Ready(change(&[])), "and what does not is none");
    test.data.set("a", "newer");
    assert_eq!(running.next().await, Update::Changed(change(&[0])));
    running.shutdown.cancel();
    running.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_and_ends_it() {
    for (template, message) in [
        (inline("\n{{ parseInt \"x\" }}", "local/a"), "template local/a line 2: parseInt: \"x\" is not a whole number"),
        (inline("{{ nope }}", "local/a"), "template local/a line 1: function \"nope\" is not known"),
        (
            Template { env: true, ..inline("A=1\nB", "local/e") },
            "template local/e line 2: of the result: there is no \"=\" after the name of a variable",
        ),
        (
            inline("x", "../other/a"),
            "template ../other/a: ../other/a is outside of the task's and the allocation's directory",
        ),
    ] {
        let test = Test::new();
        let mut running = test.start(vec![template]);
        let Update::Failed(error) = running.next().await else { panic!("{message}") };
        assert_eq!(error.to_string(), message);
        running.ended().await;
    }
    let test = Test::new();
    test.data.set("a", "1");
    let mut running = test.start(vec![inline("{{ parseInt (nomadVar \"a\").v }}", "local/a")]);
    assert_eq!(running.next().await, Update::Ready(change(&[0])));
    test.data.set("a", "x");
    assert!(matches!(running.next().await, Update::Failed(error) if error.line == Some(1)));
    assert_eq!(test.read("local/a"), "1");
    running.ended().await;
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_nobody_listens_any_more() {
    let test = Test::new();
    let running = test.start(vec![inline("{{ nomadVar \"a\" }}", "local/a")]);
    drop(running.updates);
    running.task.await.unwrap();
}
