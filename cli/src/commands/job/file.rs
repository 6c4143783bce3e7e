//! Reading job files: HCL with its variables, or the API's JSON.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use orch_api::JobSubmission;
use orch_jobspec::{FileAccess, ParseOptions, Source, Variables, check};
use orch_model::Job;
use orch_model::admission::AdmissionContext;

use crate::agent::{DRIVER_OPTIONS, DRIVERS};
use crate::terminal;

/// What a job is read from.
#[derive(Debug, clap::Args)]
pub(crate) struct FileArgs {
    /// The job file; - reads standard input
    path: PathBuf,
    /// Read the API's JSON instead of HCL
    #[arg(long)]
    json: bool,
    /// Set a variable of the file; may be repeated
    #[arg(long = "var", value_name = "key=value")]
    var: Vec<String>,
    /// Read variables from a file; may be repeated
    #[arg(long = "var-file", value_name = "path")]
    var_file: Vec<PathBuf>,
    /// Whether a value for a variable that the file does not declare is an error
    #[arg(long = "hcl2-strict", value_name = "bool", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true")]
    hcl2_strict: bool,
}

/// A job that was read.
#[derive(Debug)]
pub(crate) struct ReadJob {
    pub(crate) job: Job,
    /// What it was read from, kept with it by the servers.
    pub(crate) submission: JobSubmission,
    /// Where it was read from, as the user wrote it.
    pub(crate) path: PathBuf,
}

impl FileArgs {
    /// Reads the job; warnings about the text go to standard error.
    ///
    /// What is wrong with the text is an error of the type [`Diagnostics`](orch_jobspec::Diagnostics).
    pub(crate) fn read(&self) -> anyhow::Result<ReadJob> {
        let text = read_text(&self.path)?;
        if self.json {
            return self.read_json(text);
        }
        let base = std::env::current_dir().context("cannot find the working directory")?;
        let options = ParseOptions { variables: self.variables()?, file_access: FileAccess::Base(base) };
        let name = if self.path == Path::new("-") { "<stdin>".to_owned() } else { self.path.display().to_string() };
        // Limits that a cluster sets for itself are the servers' to check.
        let context = AdmissionContext {
            max_priority: i64::MAX,
            max_count: 0,
            driver_options: DRIVER_OPTIONS,
            ..AdmissionContext::new(DRIVERS)
        };
        let checked = check(Source::new(name, text.clone()), &options, &context);
        let job = match checked.parsed {
            Some(parsed) if !checked.diagnostics.has_errors() => {
                for warning in parsed.warnings.to_vec() {
                    terminal::err(warning.to_string());
                }
                parsed.job
            }
            _ => return Err(checked.diagnostics.into()),
        };
        let Variables { flags, files, .. } = options.variables;
        let submission = JobSubmission {
            source: text,
            format: "hcl2".to_owned(),
            variable_flags: flags.into_iter().collect(),
            variables: files.iter().map(Source::text).collect::<Vec<_>>().join("\n"),
            ..JobSubmission::default()
        };
        Ok(ReadJob { job, submission, path: self.path.clone() })
    }

    fn read_json(&self, text: String) -> anyhow::Result<ReadJob> {
        if !self.var.is_empty() || !self.var_file.is_empty() {
            bail!("-json reads a job without variables: leave -var and -var-file out");
        }
        let source = Source::new(self.path.display().to_string(), text.clone());
        let job = orch_jobspec::parse_api_json(&source)?;
        let submission = JobSubmission { source: text, format: "json".to_owned(), ..JobSubmission::default() };
        Ok(ReadJob { job, submission, path: self.path.clone() })
    }

    fn variables(&self) -> anyhow::Result<Variables> {
        let flags = self.var.iter().map(|text| match text.split_once('=') {
            Some((name, value)) => Ok((name.trim().to_owned(), value.to_owned())),
            None => bail!("-var must be name=value, not {text:?}"),
        });
        let files = self.var_file.iter().map(|path| {
            let bytes =
                std::fs::read(path).with_context(|| format!("cannot read the variables in {}", path.display()))?;
            Source::from_bytes(path.display().to_string(), &bytes).map_err(|error| anyhow::anyhow!("{error}"))
        });
        Ok(Variables {
            environment: environment(
                std::env::vars_os()
                    .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
            ),
            files: files.collect::<anyhow::Result<_>>()?,
            flags: flags.collect::<anyhow::Result<_>>()?,
            allow_undeclared: !self.hcl2_strict,
        })
    }
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read the job from standard input")?;
        return Ok(text);
    }
    let bytes = std::fs::read(path).with_context(|| format!("cannot read the job file {}", path.display()))?;
    match Source::from_bytes(path.display().to_string(), &bytes) {
        Ok(source) => Ok(source.text().to_owned()),
        Err(diagnostic) => bail!("{diagnostic}"),
    }
}

/// Variables from `NOMAD_VAR_name` and, stronger, `ORCH_VAR_name`.
fn environment(vars: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let (mut weak, mut strong) = (BTreeMap::new(), BTreeMap::new());
    for (name, value) in vars {
        if let Some(name) = name.strip_prefix("ORCH_VAR_") {
            strong.insert(name.to_owned(), value);
        } else if let Some(name) = name.strip_prefix("NOMAD_VAR_") {
            weak.insert(name.to_owned(), value);
        }
    }
    weak.extend(strong);
    weak.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_variables_win_over_nomads() {
        let vars = [("NOMAD_VAR_a", "1"), ("ORCH_VAR_a", "2"), ("NOMAD_VAR_b", "3"), ("PATH", "x")];
        let found = environment(vars.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(found, [("a".to_owned(), "2".to_owned()), ("b".to_owned(), "3".to_owned())]);
    }
}
