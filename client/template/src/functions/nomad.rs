//! Services and variables.

use sha2::{Digest, Sha256};

use super::{Table, exactly, expected, fields, int, text};
use crate::data::{Dependency, Service, ServiceName, VariablePath};
use crate::run::Run;
use crate::show;
use crate::value::{Entries, Failure, Item, Owner, Value};

pub(super) const TABLE: Table = &[
    ("nomadService", |run, args| service(run, args)),
    ("nomadServices", |run, args| {
        let [] = exactly(args)?;
        let answer = run.data.services();
        let found = run.answer(Dependency::Services, answer)?.unwrap_or_default();
        Value::list(found.iter().map(service_name).collect::<Result<_, _>>()?)
    }),
    ("nomadVar", |run, args| {
        let [path] = exactly(args)?;
        let path = VariablePath::parse(text(path)?);
        let answer = run.data.variable(&path);
        let Some(variable) = run.answer(Dependency::Variable(path), answer)? else { return Ok(Value::Nil) };
        let mut entries = Entries::new();
        for (key, value) in &variable.items {
            let item = Item { key: key.as_str().into(), value: value.as_str().into() };
            entries.insert(item.key.clone(), Value::Item(item.into()));
        }
        Value::variable(entries, owner(&variable.path))
    }),
    ("nomadVarExists", |run, args| {
        let [path] = exactly(args)?;
        let path = VariablePath::parse(text(path)?);
        let answer = run.data.variable_exists(&path);
        Ok(Value::Bool(run.answer(Dependency::VariableExists(path), answer)?.unwrap_or(false)))
    }),
    ("nomadVarList", |run, args| variables(run, args, false)),
    ("nomadVarListSafe", |run, args| variables(run, args, true)),
];

fn service(run: &mut Run<'_>, args: &[Value]) -> Result<Value, Failure> {
    let (name, chosen) = match args {
        [name] => (name, None),
        [count, key, name] => (name, Some((int(count)?, show::text(key)))),
        _ => return Err("takes a name, or a count, a key and a name".into()),
    };
    let name = text(name)?;
    let answer = run.data.service(name);
    let mut found = run.answer(Dependency::Service(name.to_owned()), answer)?.unwrap_or_default();
    if let Some((count, key)) = chosen {
        let count = usize::try_from(count).map_err(|_| expected("a count", &Value::Int(count)))?;
        // Which ones depends on each by itself, so that a service that comes or goes moves no other choice.
        found.sort_by_cached_key(|service| Sha256::digest(format!("{key}/{}", service.id)).to_vec());
        found.truncate(count);
    }
    found.sort_by(|a, b| (&a.node, &a.id).cmp(&(&b.node, &b.id)));
    Value::list(found.iter().map(instance).collect::<Result<_, _>>()?)
}

fn instance(service: &Service) -> Result<Value, Failure> {
    let Service { id, name, namespace, node, datacenter, address, port, tags, job_id, alloc_id } = service;
    let texts = [
        ("ID", id),
        ("Name", name),
        ("Namespace", namespace),
        ("Node", node),
        ("Datacenter", datacenter),
        ("Address", address),
        ("JobID", job_id),
        ("AllocID", alloc_id),
    ];
    let mut entries: Entries = texts.map(|(key, value)| (key.into(), Value::text(value.as_str()))).into();
    entries.insert("Port".into(), Value::Int(i64::from(*port)));
    entries.insert("Tags".into(), Value::texts(tags.iter().map(String::as_str))?);
    Value::map(entries)
}

fn service_name(service: &ServiceName) -> Result<Value, Failure> {
    let ServiceName { name, tags } = service;
    Value::map(Entries::from([
        ("Name".into(), Value::text(name.as_str())),
        ("Tags".into(), Value::texts(tags.iter().map(String::as_str))?),
    ]))
}

fn owner(path: &VariablePath) -> Owner {
    Owner { path: path.path.clone(), namespace: path.namespace.clone() }
}

/// The variables below a prefix; `safe` also waits for there to be one.
fn variables(run: &mut Run<'_>, args: &[Value], safe: bool) -> Result<Value, Failure> {
    let prefix = match args {
        [] => VariablePath::default(),
        args => {
            let [prefix] = exactly(args)?;
            VariablePath::parse(text(prefix)?)
        }
    };
    let answer = run.data.variables(&prefix);
    let dependency = Dependency::Variables(prefix);
    let found = run.answer(dependency.clone(), answer)?.unwrap_or_default();
    if safe && found.is_empty() {
        run.missing.insert(dependency);
    }
    Value::list(found.iter().map(|path| fields::path(&owner(path))).collect::<Result<_, _>>()?)
}
