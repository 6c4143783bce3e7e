//! Files rendered for a task before it starts, and for as long as it runs.

use std::path::PathBuf;

use async_trait::async_trait;
use orch_model::job::{ChangeMode, RestartPolicy, Task, Template};
use orch_template::{Sandbox, Source, Wait};

use super::{Made, TaskHook, TaskSetup};
use crate::alloc_runner::task::PrepareError;
use crate::alloc_runner::template_watch::{Effect, Plan, Rule};
use crate::config::TemplateConfig;
use crate::interpolate::Names;

/// Waits until every template is rendered; what they set of the environment is part of the task's.
pub(super) struct Templates;

#[async_trait]
impl TaskHook for Templates {
    fn name(&self) -> &'static str {
        "template"
    }

    async fn prestart(&self, setup: &TaskSetup, made: &mut Made) -> Result<(), PrepareError> {
        let Some(watch) = &setup.templates else { return Ok(()) };
        if setup.run > 0 && policy(setup)?.render_templates == Some(true) {
            watch.stop();
        }
        if !watch.is_watching() {
            watch.begin(plan(setup, made, false)?);
        }
        watch.ready().await.map_err(PrepareError::Template)?;
        made.names.env.extend(watch.env());
        Ok(())
    }
}

/// Begins to watch the templates of a task that runs already.
pub(super) fn resume(setup: &TaskSetup, made: &Made) -> Result<(), PrepareError> {
    if let Some(watch) = setup.templates.as_ref().filter(|watch| !watch.is_watching()) {
        watch.begin(plan(setup, made, true)?);
    }
    Ok(())
}

fn policy(setup: &TaskSetup) -> Result<RestartPolicy, PrepareError> {
    let (task, group) = (setup.task()?, setup.group()?);
    Ok(task.restart_policy.clone().or_else(|| group.restart_policy.clone()).unwrap_or_default())
}

fn plan(setup: &TaskSetup, made: &Made, running: bool) -> Result<Plan, PrepareError> {
    let task = setup.task()?;
    let config = &setup.context.config.templates;
    let dirs = setup.dir.task(&task.name);
    let templates = task.templates.iter().map(|template| file(template, &made.names, config));
    Ok(Plan {
        templates: templates.collect::<Result<_, _>>()?,
        rules: rules(task)?,
        env: made.names.env.clone(),
        sandbox: Sandbox::new(dirs.task, dirs.shared),
        settings: config.clone(),
        running,
        teller: setup.teller.clone(),
    })
}

fn file(template: &Template, names: &Names, config: &TemplateConfig) -> Result<orch_template::Template, PrepareError> {
    let Template {
        source_path,
        dest_path,
        embedded_tmpl,
        change_mode: _,
        change_signal: _,
        change_script: _,
        once,
        splay: _,
        perms,
        uid,
        gid,
        left_delim,
        right_delim,
        envvars,
        vault_grace: _,
        wait,
        err_missing_key,
    } = template;
    let destination = names.fill(dest_path);
    let invalid = |what: &str, value: &dyn std::fmt::Display| {
        PrepareError::Template(format!("Template failed: template {destination} has {what} {value}"))
    };
    let number = |what: &str, value: &Option<i64>| -> Result<Option<u32>, PrepareError> {
        // A negative one stands for none.
        let Some(value) = value.filter(|value| *value >= 0) else { return Ok(None) };
        u32::try_from(value).map(Some).map_err(|_| invalid(what, &value))
    };
    let perms = if perms.is_empty() { "0644" } else { perms };
    let mode = u32::from_str_radix(perms, 8).ok().filter(|mode| *mode <= 0o7777);
    let source = if source_path.is_empty() {
        Source::Inline(embedded_tmpl.clone())
    } else {
        Source::File(PathBuf::from(names.fill(source_path)))
    };
    let wait = wait.as_ref().map(|wait| {
        let min = wait.min.unwrap_or_default().to_std();
        config.bounded(Wait { min, max: wait.max.map_or(min * 4, |max| max.to_std()).max(min) })
    });
    Ok(orch_template::Template {
        left_delim: left_delim.clone(),
        right_delim: right_delim.clone(),
        perms: mode.ok_or_else(|| invalid("the permissions", &perms))?,
        uid: number("the uid", uid)?,
        gid: number("the gid", gid)?,
        env: *envvars,
        error_on_missing_key: *err_missing_key,
        once: *once,
        wait,
        ..orch_template::Template::new(source, &destination)
    })
}

/// What each template's change brings about.
fn rules(task: &Task) -> Result<Vec<Rule>, PrepareError> {
    let rule = |template: &Template| {
        let unknown =
            || PrepareError::Invalid(format!("a template has the unknown change_mode {:?}", template.change_mode));
        let effect = match template.change_mode().ok_or_else(unknown)? {
            ChangeMode::Noop => Effect::Nothing,
            ChangeMode::Restart => Effect::Restart,
            ChangeMode::Signal => Effect::Signal(template.change_signal.clone()),
            ChangeMode::Script => match &template.change_script {
                Some(script) => Effect::Script(Box::new(script.clone())),
                None => return Err(PrepareError::Invalid("a template's change_script is missing".to_owned())),
            },
        };
        Ok(Rule { effect, splay: template.splay.to_std() })
    };
    task.templates.iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_a_template_says_is_taken_over_with_its_names_filled_in() {
        let env = BTreeMap::from([("NAME".to_owned(), "x".to_owned())]);
        let names = Names { env, ..Names::default() };
        let template = Template {
            dest_path: "local/${NAME}.conf".into(),
            embedded_tmpl: "${NAME}".into(),
            perms: "640".into(),
            uid: Some(-1),
            gid: Some(7),
            ..Template::default()
        };
        let file = file(&template, &names, &TemplateConfig::default()).unwrap();
        assert_eq!(file.destination, PathBuf::from("local/x.conf"));
        assert_eq!(file.source, Source::Inline("${NAME}".into()), "the text is for the template's own language");
        assert_eq!((file.perms, file.uid, file.gid), (0o640, None, Some(7)));
        let wrong = Template { perms: "9".into(), ..template };
        assert!(matches!(super::file(&wrong, &names, &TemplateConfig::default()), Err(PrepareError::Template(_))));
    }
}
