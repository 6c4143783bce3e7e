//! One rendering: what it reads, what it may still take, what it keeps in `scratch`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use crate::data::{Answer, Data, Dependency};
use crate::sandbox::{Sandbox, Stamp};
use crate::template::Limits;
use crate::value::{Entries, Failure, Value};

/// One rendering: what it reads, what it may still take, what it keeps in `scratch`.
pub(crate) struct Run<'a> {
    pub(crate) data: &'a dyn Data,
    sandbox: &'a Sandbox,
    limits: Limits,
    began: Instant,
    steps: u64,
    values: usize,
    /// What was read; files with what tells their content apart.
    pub(crate) reads: BTreeMap<Dependency, Option<Stamp>>,
    pub(crate) missing: BTreeSet<Dependency>,
    pub(crate) scratch: Entries,
}

/// After how many steps the clock is read.
const STEPS_PER_LOOK: u64 = 64;

impl<'a> Run<'a> {
    pub(crate) fn new(data: &'a dyn Data, sandbox: &'a Sandbox, limits: Limits) -> Self {
        Self {
            data,
            sandbox,
            limits,
            began: Instant::now(),
            steps: 0,
            values: 0,
            reads: BTreeMap::new(),
            missing: BTreeSet::new(),
            scratch: Entries::new(),
        }
    }

    /// Counts a step, and ends a rendering that takes too many or too long.
    pub(crate) fn step(&mut self) -> Result<(), Failure> {
        self.steps += 1;
        if self.steps > self.limits.steps {
            return Err(format!("it does not come to an end within {} steps", self.limits.steps).into());
        }
        if self.steps.is_multiple_of(STEPS_PER_LOOK) {
            return self.look();
        }
        Ok(())
    }

    /// Reads the clock.
    pub(crate) fn look(&self) -> Result<(), Failure> {
        if self.began.elapsed() > self.limits.time {
            return Err(format!("it does not come to an end within {:?}", self.limits.time).into());
        }
        Ok(())
    }

    /// Counts bytes that are about to be made.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), Failure> {
        self.values = self.values.saturating_add(bytes);
        if self.values > self.limits.values {
            return Err(format!("its values grow beyond {} MiB", self.limits.values >> 20).into());
        }
        Ok(())
    }

    /// Refuses a text that would be too large, before it is made.
    pub(crate) fn fits(&self, bytes: usize) -> Result<(), Failure> {
        if bytes > self.limits.output {
            return Err(format!("a text grows beyond {} MiB", self.limits.output >> 20).into());
        }
        Ok(())
    }

    /// Refuses a result that has become too large.
    pub(crate) fn written(&self, bytes: usize) -> Result<(), Failure> {
        if bytes > self.limits.output {
            return Err(format!("its result grows beyond {} MiB", self.limits.output >> 20).into());
        }
        Ok(())
    }

    /// The content of a file; empty while it is missing.
    pub(crate) fn file(&mut self, path: &str) -> Result<Value, Failure> {
        let dependency = Dependency::File(path.to_owned());
        match self.sandbox.read(Path::new(path), self.limits.output)? {
            Some((content, stamp)) => {
                self.reads.insert(dependency, Some(stamp));
                Ok(Value::bytes(content))
            }
            None => {
                self.reads.insert(dependency.clone(), None);
                self.missing.insert(dependency);
                Ok(Value::text(""))
            }
        }
    }

    /// Notes that something was asked for, and what the answer means.
    pub(crate) fn answer<T>(&mut self, dependency: Dependency, answer: Answer<T>) -> Result<Option<T>, Failure> {
        self.reads.insert(dependency.clone(), None);
        match answer {
            Answer::Found(value) => Ok(Some(value)),
            Answer::Missing => {
                self.missing.insert(dependency);
                Ok(None)
            }
            Answer::NotHere(reason) => Err(reason.into()),
        }
    }
}
