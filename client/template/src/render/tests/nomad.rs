use super::*;

/// A cluster with two services and a variable.
struct Cluster;

impl Data for Cluster {
    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn service(&self, name: &str) -> Answer<Vec<Service>> {
        let instance = |number: u16| Service {
            id: format!("id-{number}"),
            name: "db".into(),
            address: format!("10.0.0.{number}"),
            port: 5432,
            tags: vec!["primary".into()],
            node: format!("node-{}", 9 - number),
            ..Service::default()
        };
        match name {
            "db" => Answer::Found((1..=3).map(instance).collect()),
            "slow" => Answer::Missing,
            _ => Answer::Found(Vec::new()),
        }
    }

    fn services(&self) -> Answer<Vec<ServiceName>> {
        Answer::Found(vec![ServiceName { name: "db".into(), tags: vec!["primary".into()] }])
    }

    fn variable(&self, path: &VariablePath) -> Answer<Variable> {
        if path.path != "app/db" {
            return Answer::Missing;
        }
        let items = BTreeMap::from([("password".into(), "s3cret".into()), ("user".into(), "app".into())]);
        Answer::Found(Variable { path: path.clone(), items })
    }

    fn variable_exists(&self, path: &VariablePath) -> Answer<bool> {
        Answer::Found(path.path == "app/db")
    }

    fn variables(&self, prefix: &VariablePath) -> Answer<Vec<VariablePath>> {
        let all =
            ["app/db", "app/web", "other"].map(|path| VariablePath { namespace: "default".into(), path: path.into() });
        Answer::Found(all.into_iter().filter(|path| path.path.starts_with(&prefix.path)).collect())
    }

    fn changes(&self) -> Option<tokio::sync::watch::Receiver<u64>> {
        None
    }
}

fn in_cluster(text: &str) -> Rendered {
    let task = Task::new();
    render(&template(text), &Cluster, &task.sandbox(), Limits::default())
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn services_and_variables_are_rendered() {
    for (text, expected) in [
        (
            "{{ range nomadService \"db\" }}{{ .Address }}:{{ .Port }} {{ .Node }};{{ end }}",
            "10.0.0.3:5432 node-6;10.0.0.2:5432 node-7;10.0.0.1:5432 node-8;",
        ),
        ("{{ range nomadService \"none\" }}x{{ else }}none{{ end }}", "none"),
        ("{{ len (nomadService 2 \"alloc-1\" \"db\") }}", "2"),
        (
            "{{ with index (nomadService \"db\") 0 }}{{ if .Tags | contains \"primary\" }}a{{ end }}{{ if .Tags.Contains \"x\" }}b{{ end }}{{ .Name }}{{ end }}",
            "adb",
        ),
        ("{{ range $tag, $all := nomadService \"db\" | byTag }}{{ $tag }}{{ len $all }}{{ end }}", "primary3"),
        ("{{ range nomadServices }}{{ .Name }}{{ .Tags }}{{ end }}", "db[primary]"),
        ("{{ with nomadVar \"app/db\" }}{{ .user }}:{{ .password.Value }} {{ .user.Key }}{{ end }}", "app:s3cret user"),
        ("{{ range $k, $v := nomadVar \"app/db@default\" }}{{ $k }}={{ $v }};{{ end }}", "password=s3cret;user=app;"),
        (
            "{{ with nomadVar \"app/db\" }}{{ .Keys }}{{ .Values }}{{ range .Tuples }}{{ .Key }}={{ .Value }};{{ end }}{{ .Metadata.Path }}{{ end }}",
            "[password user][s3cret app]password=s3cret;user=app;app/db",
        ),
        (
            "{{ (nomadVar \"app/db\").user | toUpper }}{{ if eq (nomadVar \"app/db\").user \"app\" }}!{{ end }}{{ printf \"%s\" (nomadVar \"app/db\").user }}",
            "APP!app",
        ),
        ("{{ nomadVar \"app/db\" | toJSON }}", "{\"password\":\"s3cret\",\"user\":\"app\"}"),
        ("{{ if nomadVarExists \"none\" }}a{{ else }}b{{ end }}{{ nomadVarExists \"app/db\" }}", "btrue"),
        (
            "{{ range nomadVarList \"app/\" }}{{ .Path }}@{{ .Namespace }};{{ end }}{{ len nomadVarList }}{{ len (nomadVarListSafe \"app\") }}",
            "app/db@default;app/web@default;32",
        ),
    ] {
        let rendered = in_cluster(text);
        assert_eq!(String::from_utf8(rendered.content).unwrap(), expected, "{text}");
        assert_eq!(rendered.missing, [], "{text}");
    }
}

#[test]
fn what_is_not_there_yet_is_missing_and_no_error() {
    let rendered = in_cluster(
        "{{ with nomadVar \"none@prod\" }}x{{ end }}{{ index (nomadService \"slow\") 0 }}{{ nomadVarListSafe \"x/\" }}",
    );
    let names: Vec<String> = rendered.missing.iter().map(Dependency::to_string).collect();
    assert_eq!(names, ["nomad.service(slow)", "nomad.var.block(none@prod)"]);
    let rendered = in_cluster("{{ nomadVarListSafe \"x/\" }}");
    assert_eq!(rendered.missing, [Dependency::Variables(VariablePath { namespace: String::new(), path: "x/".into() })]);
}

#[test]
fn choosing_some_instances_depends_on_the_key_alone() {
    let choose = |key: &str| {
        in_cluster(&format!("{{{{ range nomadService 1 \"{key}\" \"db\" }}}}{{{{ .ID }}}}{{{{ end }}}}")).content
    };
    let chosen: std::collections::BTreeSet<_> = (0..20).map(|n| choose(&n.to_string())).collect();
    assert!(chosen.len() > 1, "not everyone gets the same one");
    assert_eq!(choose("a"), choose("a"));
}

#[test]
fn where_there_is_no_cluster_that_is_said() {
    expect_errors(&[
        ("{{ nomadService \"db\" }}", "nomadService: service discovery is not available yet"),
        ("{{ nomadServices }}", "nomadServices: service discovery is not available yet"),
        ("{{ nomadVar \"a\" }}", "nomadVar: variables are not available yet"),
        ("{{ nomadVarExists \"a\" }}", "nomadVarExists: variables are not available yet"),
        ("{{ nomadVarList }}", "nomadVarList: variables are not available yet"),
        ("{{ nomadService 1 \"db\" }}", "takes a name, or a count, a key and a name"),
    ]);
}
