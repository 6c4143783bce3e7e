//! Finding and showing differences, as the table says.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};

use super::table::{Child, GROUP, How, JOB, PLAIN, Shape, TASK};
use super::{DiffType, FieldDiff, JobDiff, ObjectDiff, TaskDiff, TaskGroupDiff};
use crate::job::{Job, Task, TaskGroup};

/// What changed from `old` (`None`: the job is new) to `new`, both canonical.
///
/// All groups and tasks are listed. Of job, groups and tasks only changed fields are; of changed blocks all are.
pub fn diff(old: Option<&Job>, new: &Job) -> JobDiff {
    let (before, after) = (old.map(tree), tree(new));
    let fields = changed(&JOB, before.as_ref(), Some(&after));
    let objects = objects(&JOB, before.as_ref(), Some(&after));
    let task_groups: Vec<_> = pairs(old.map_or(&[][..], |job| &job.task_groups), &new.task_groups, |group| &group.name)
        .map(|(old, new)| group(old, new))
        .collect();
    let edited =
        !fields.is_empty() || !objects.is_empty() || task_groups.iter().any(|group| group.r#type != DiffType::None);
    let r#type = match (old, edited) {
        (None, _) => DiffType::Added,
        (Some(_), true) => DiffType::Edited,
        (Some(_), false) => DiffType::None,
    };
    JobDiff { r#type, id: new.id.clone(), fields, objects, task_groups }
}

fn group(old: Option<&TaskGroup>, new: Option<&TaskGroup>) -> TaskGroupDiff {
    let (before, after) = (old.map(tree), new.map(tree));
    let fields = changed(&GROUP, before.as_ref(), after.as_ref());
    let objects = objects(&GROUP, before.as_ref(), after.as_ref());
    let tasks_of = |group: Option<&TaskGroup>| group.map_or(Vec::new(), |group| group.tasks.clone());
    let (old_tasks, new_tasks) = (tasks_of(old), tasks_of(new));
    let tasks: Vec<_> = pairs(&old_tasks, &new_tasks, |task| &task.name).map(|(old, new)| task(old, new)).collect();
    let edited = !fields.is_empty() || !objects.is_empty() || tasks.iter().any(|task| task.r#type != DiffType::None);
    let name = new.or(old).map(|group| group.name.clone()).unwrap_or_default();
    TaskGroupDiff { r#type: presence(old, new, edited), name, fields, objects, tasks, updates: BTreeMap::new() }
}

fn task(old: Option<&Task>, new: Option<&Task>) -> TaskDiff {
    let (before, after) = (old.map(tree), new.map(tree));
    TaskDiff {
        r#type: presence(old, new, old != new),
        name: new.or(old).map(|task| task.name.clone()).unwrap_or_default(),
        fields: changed(&TASK, before.as_ref(), after.as_ref()),
        objects: objects(&TASK, before.as_ref(), after.as_ref()),
        annotations: Vec::new(),
    }
}

const fn presence<T>(old: Option<&T>, new: Option<&T>, edited: bool) -> DiffType {
    match (old, new) {
        (None, Some(_)) => DiffType::Added,
        (Some(_), None) => DiffType::Deleted,
        (Some(_), Some(_)) if edited => DiffType::Edited,
        (Some(_), Some(_)) | (None, None) => DiffType::None,
    }
}

/// Old and new values with the same name, in order of names.
fn pairs<'a, T>(
    old: &'a [T],
    new: &'a [T],
    name: impl Fn(&T) -> &String,
) -> impl Iterator<Item = (Option<&'a T>, Option<&'a T>)> {
    let mut paired: BTreeMap<String, (Option<&T>, Option<&T>)> = BTreeMap::new();
    for value in old {
        paired.entry(name(value).clone()).or_default().0 = Some(value);
    }
    for value in new {
        paired.entry(name(value).clone()).or_default().1 = Some(value);
    }
    paired.into_values()
}

/// A part of a job as its JSON.
pub(super) fn tree<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("every value of the job tree is representable in JSON")
}

/// A field of an object; `None` if there is no object, or the field is null.
fn get<'a>(object: Option<&'a Value>, field: &str) -> Option<&'a Value> {
    object?.get(field).filter(|value| !value.is_null())
}

fn changed(shape: &Shape, old: Option<&Value>, new: Option<&Value>) -> Vec<FieldDiff> {
    fields(&flat(shape, old), &flat(shape, new)).into_iter().filter(|field| field.r#type != DiffType::None).collect()
}

/// The plain fields of an object as texts, entries of maps as `Map[key]`, without the hidden ones.
fn flat(shape: &Shape, object: Option<&Value>) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let is_child = |name: &str| shape.children.iter().any(|child| child.field == name);
    for (name, value) in object.and_then(Value::as_object).into_iter().flatten() {
        if is_child(name) {
            continue;
        }
        if let Some(text) = plain(value) {
            out.insert(name.clone(), text);
        } else if let Some(map) = value.as_object().filter(|map| map.values().all(|value| value.is_string())) {
            out.extend(map.iter().filter_map(|(key, value)| Some((format!("{name}[{key}]"), plain(value)?))));
        }
    }
    out.retain(|name, _| !shape.hidden.contains(&name.as_str()));
    out
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Every leaf below `value` as a text, named by its path.
fn flat_to_any_depth(path: &str, value: &Value, out: &mut BTreeMap<String, String>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}[{key}]") };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| flat_to_any_depth(&below(key), value, out)),
        Value::Array(list) => {
            for (i, value) in list.iter().enumerate() {
                flat_to_any_depth(&below(&i.to_string()), value, out);
            }
        }
        Value::Null => {
            out.insert(path.to_owned(), "nil".to_owned());
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.insert(path.to_owned(), plain(value).unwrap_or_default());
        }
    }
}

fn fields(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<FieldDiff> {
    let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let text = |side: &BTreeMap<String, String>, name: &String| side.get(name).cloned().unwrap_or_default();
    names.into_iter().map(|name| field(name, text(old, name), text(new, name))).collect()
}

fn field(name: &str, old: String, new: String) -> FieldDiff {
    let r#type = match (old.is_empty(), new.is_empty()) {
        _ if old == new => DiffType::None,
        (true, _) => DiffType::Added,
        (_, true) => DiffType::Deleted,
        (false, false) => DiffType::Edited,
    };
    FieldDiff { r#type, name: name.to_owned(), old, new, annotations: Vec::new() }
}

/// The nested objects that changed, in order of display.
fn objects(shape: &Shape, old: Option<&Value>, new: Option<&Value>) -> Vec<ObjectDiff> {
    let mut found: Vec<_> =
        shape.children.iter().flat_map(|child| of_child(child, get(old, child.field), get(new, child.field))).collect();
    sort(&mut found);
    found
}

fn sort(objects: &mut [ObjectDiff]) {
    let contents = |object: &ObjectDiff| tree(object).to_string();
    objects.sort_by(|a, b| {
        (&a.name, a.r#type, a.fields.len(), a.objects.len())
            .cmp(&(&b.name, b.r#type, b.fields.len(), b.objects.len()))
            .then_with(|| contents(a).cmp(&contents(b)))
    });
}

fn of_child(child: &Child, old: Option<&Value>, new: Option<&Value>) -> Vec<ObjectDiff> {
    if old == new {
        return Vec::new();
    }
    let one = |(old, new): (Option<&Value>, Option<&Value>)| object(child, old, new);
    match child.how {
        How::One | How::Free | How::Tree => one((old, new)).into_iter().collect(),
        How::Set => set(child.name, old, new).into_iter().collect(),
        How::Content => by_key(list(old), list(new), Value::to_string).filter_map(one).collect(),
        How::Key(field) => by_key(list(old), list(new), |value| value[field].to_string()).filter_map(one).collect(),
        How::MapKey => {
            let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
            let keys: BTreeSet<_> = old.into_iter().chain(new).flat_map(Map::keys).collect();
            keys.into_iter()
                .filter_map(|key| one((old.and_then(|map| map.get(key)), new.and_then(|map| map.get(key)))))
                .collect()
        }
        How::Score(criteria) => by_score(list(old), list(new), criteria).into_iter().filter_map(one).collect(),
    }
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

type Pair<'a> = (Option<&'a Value>, Option<&'a Value>);

fn by_key<'a>(old: &'a [Value], new: &'a [Value], key: impl Fn(&Value) -> String) -> impl Iterator<Item = Pair<'a>> {
    let mut paired: BTreeMap<String, Pair<'a>> = BTreeMap::new();
    for value in old {
        paired.entry(key(value)).or_default().0 = Some(value);
    }
    for value in new {
        paired.entry(key(value)).or_default().1 = Some(value);
    }
    paired.into_values()
}

/// Pairs the most similar first, and leaves over what is not similar enough to anything.
fn by_score<'a>(old: &'a [Value], new: &'a [Value], criteria: &[&str]) -> Vec<Pair<'a>> {
    if let ([old], [new]) = (old, new) {
        return vec![(Some(old), Some(new))];
    }
    let score = |(i, old): (usize, &Value), (j, new): (usize, &Value)| {
        let agreeing = criteria.iter().enumerate().filter(|(_, field)| old[**field] == new[**field]);
        usize::from(i == j) + agreeing.map(|(weight, _)| weight + 2).sum::<usize>()
    };
    let mut scored: Vec<(usize, usize, usize)> = Vec::new();
    for before in old.iter().enumerate() {
        for after in new.iter().enumerate() {
            let exact = if before.1 == after.1 { 100 } else { 0 };
            scored.push((exact + score(before, after), before.0, after.0));
        }
    }
    scored.retain(|(score, _, _)| *score > 2);
    scored.sort_by_key(|(score, i, j)| (std::cmp::Reverse(*score), *i, *j));
    let (mut old_left, mut new_left): (Vec<_>, Vec<_>) =
        (old.iter().map(Some).collect(), new.iter().map(Some).collect());
    let mut paired = Vec::new();
    for (_, i, j) in scored {
        if old_left[i].is_some() && new_left[j].is_some() {
            paired.push((old_left[i].take(), new_left[j].take()));
        }
    }
    paired.extend(old_left.into_iter().flatten().map(|value| (Some(value), None)));
    paired.extend(new_left.into_iter().flatten().map(|value| (None, Some(value))));
    paired
}

/// The difference of two sets of texts, as one object whose fields all have the set's name.
fn set(name: &str, old: Option<&Value>, new: Option<&Value>) -> Option<ObjectDiff> {
    let texts = |value| list(value).iter().filter_map(plain).collect::<BTreeSet<_>>();
    let (old, new) = (texts(old), texts(new));
    let (removed, added) = (old.difference(&new).next().is_some(), new.difference(&old).next().is_some());
    let r#type = match (removed, added) {
        (false, false) => return None,
        (true, true) => DiffType::Edited,
        (false, true) => DiffType::Added,
        (true, false) => DiffType::Deleted,
    };
    let side = |set: &BTreeSet<String>, text: &String| if set.contains(text) { text.clone() } else { String::new() };
    let mut fields: Vec<_> = old.union(&new).map(|text| field(name, side(&old, text), side(&new, text))).collect();
    fields.sort_by(|a, b| (&a.old, &a.new).cmp(&(&b.old, &b.new)));
    Some(ObjectDiff { r#type, name: name.to_owned(), fields, objects: Vec::new() })
}

fn object(child: &Child, old: Option<&Value>, new: Option<&Value>) -> Option<ObjectDiff> {
    let (fields, objects) = match child.how {
        How::Free => {
            let leaves = |value: Option<&Value>| {
                let mut out = BTreeMap::new();
                value.inspect(|value| flat_to_any_depth("", value, &mut out));
                out
            };
            (fields(&leaves(old), &leaves(new)), Vec::new())
        }
        How::Tree => (fields(&flat(child.shape, old), &flat(child.shape, new)), subtrees(old, new)),
        How::One | How::Set | How::Content | How::Key(_) | How::MapKey | How::Score(_) => {
            (fields(&flat(child.shape, old), &flat(child.shape, new)), objects(child.shape, old, new))
        }
    };
    let edited = !objects.is_empty() || fields.iter().any(|field| field.r#type != DiffType::None);
    let r#type = presence(old, new, edited);
    (r#type != DiffType::None).then(|| ObjectDiff { r#type, name: child.name.to_owned(), fields, objects })
}

/// The nested objects of an object that the table does not spell out, under the names of their fields.
fn subtrees(old: Option<&Value>, new: Option<&Value>) -> Vec<ObjectDiff> {
    let names: BTreeSet<&String> =
        [old, new].into_iter().flatten().filter_map(Value::as_object).flat_map(Map::keys).collect();
    let mut found = Vec::new();
    for name in names {
        let (old, new) = (get(old, name), get(new, name));
        if old == new {
            continue;
        }
        let sample = new.or(old);
        let of_texts = |list: &[Value]| list.iter().all(|item| plain(item).is_some());
        if let Some(items) = sample.and_then(Value::as_array) {
            if of_texts(items) {
                found.extend(set(name, old, new));
            } else {
                found.extend(
                    by_key(list(old), list(new), Value::to_string).filter_map(|(old, new)| subtree(name, old, new)),
                );
            }
        } else if sample
            .and_then(Value::as_object)
            .is_some_and(|map| !map.values().all(Value::is_string) || map.is_empty())
        {
            found.extend(subtree(name, old, new));
        }
    }
    sort(&mut found);
    found
}

fn subtree(name: &str, old: Option<&Value>, new: Option<&Value>) -> Option<ObjectDiff> {
    let fields = fields(&flat(&PLAIN, old), &flat(&PLAIN, new));
    let objects = subtrees(old, new);
    let edited = !objects.is_empty() || fields.iter().any(|field| field.r#type != DiffType::None);
    let r#type = presence(old, new, edited);
    (r#type != DiffType::None).then(|| ObjectDiff { r#type, name: name.to_owned(), fields, objects })
}
