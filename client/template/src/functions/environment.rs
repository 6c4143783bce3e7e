//! The task's environment, its files, and `scratch`.

use super::{Table, exactly, text};
use crate::value::{Failure, Value};

pub(super) const TABLE: Table = &[
    ("env", |run, args| {
        let [name] = exactly(args)?;
        Ok(Value::text(run.data.env(text(name)?).unwrap_or_default()))
    }),
    ("mustEnv", |run, args| {
        let [name] = exactly(args)?;
        let name = text(name)?;
        run.data.env(name).map(Value::text).ok_or_else(|| Failure(format!("the task's environment has no {name}")))
    }),
    ("envOrDefault", |run, args| {
        let [name, default] = exactly(args)?;
        let value = run.data.env(text(name)?).filter(|value| !value.is_empty());
        Ok(value.map_or_else(|| default.clone(), Value::text))
    }),
    ("file", |run, args| {
        let [path] = exactly(args)?;
        run.file(text(path)?)
    }),
    ("scratch", |_, args| exactly(args).map(|[]| Value::Scratch)),
];
