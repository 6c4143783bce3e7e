//! Who a task is and what it may know: identities, Vault, secrets, Consul.

use orch_model::admission::{FieldPath, Step};
use orch_model::job::{Consul, Secret, Task, Vault, WorkloadIdentity};

use super::Body;

/// What a job or a group states for all tasks in it.
pub(super) struct Shared {
    vault: Option<(Vault, FieldPath)>,
    secrets: Vec<(Secret, FieldPath)>,
}

pub(super) fn shared(body: &mut Body<'_, '_>) -> Shared {
    let vault = body.block("vault").map(vault);
    let secrets = secrets(body).into_iter().map(|secret| {
        let path = body.path_of(Step::Block("secret", secret.name.clone()));
        (secret, path)
    });
    let secrets = secrets.collect();
    Shared { vault: vault.map(|vault| (vault, body.path_of(Step::Nth("vault", 0)))), secrets }
}

impl Shared {
    /// Copies the vault block to a task that has none.
    pub(super) fn give_vault(&self, task: &mut Task, body: &Body<'_, '_>, group: &FieldPath) {
        if let (None, Some((vault, from))) = (&task.vault, &self.vault) {
            task.vault = Some(vault.clone());
            body.inherit(from, &in_task(group, task, Step::Nth("vault", 0)));
        }
    }

    /// Adds the secrets to those of a task.
    pub(super) fn add_secrets(&self, task: &mut Task, body: &Body<'_, '_>, group: &FieldPath) {
        for (secret, from) in &self.secrets {
            body.inherit(from, &in_task(group, task, Step::Block("secret", secret.name.clone())));
            task.secrets.push(secret.clone());
        }
    }
}

fn in_task(group: &FieldPath, task: &Task, step: Step) -> FieldPath {
    let mut path = group.clone();
    path.0.extend([Step::Block("task", task.name.clone()), step]);
    path
}

pub(super) fn vault(mut body: Body<'_, '_>) -> Vault {
    if body.has("policies") {
        body.texts("policies");
        body.warn("policies", "`policies` has no effect: write `role`");
    }
    let vault = Vault {
        role: body.text("role"),
        namespace: body.text("namespace"),
        cluster: body.text("cluster"),
        env: body.opt_flag("env").unwrap_or(true),
        disable_file: body.flag("disable_file"),
        change_mode: body.text_or("change_mode", "restart"),
        change_signal: body.text("change_signal"),
        allow_token_expiration: body.flag("allow_token_expiration"),
    };
    body.finish();
    vault
}

pub(super) fn secrets(body: &mut Body<'_, '_>) -> Vec<Secret> {
    let secrets = body.labelled("secret", "name").into_iter().map(|(name, mut body)| {
        let secret = Secret {
            name,
            provider: body.text("provider"),
            path: body.text("path"),
            config: body.values("config"),
            env: body.text_map("env"),
        };
        body.finish();
        secret
    });
    secrets.collect()
}

pub(super) fn consul(mut body: Body<'_, '_>) -> Consul {
    let consul =
        Consul { namespace: body.text("namespace"), cluster: body.text("cluster"), partition: body.text("partition") };
    body.finish();
    consul
}

/// The default identity, which is the first without a name or named `default`, and the others.
pub(super) fn identities(body: &mut Body<'_, '_>) -> (Option<WorkloadIdentity>, Vec<WorkloadIdentity>) {
    let mut default = None;
    let mut others = Vec::new();
    for (i, block) in body.blocks("identity").into_iter().enumerate() {
        let identity = identity(block);
        let name = if identity.name.is_empty() { "default" } else { &identity.name };
        let (from, to) = (Step::Nth("identity", i), Step::Block("identity", name.to_owned()));
        body.inherit(&body.path_of(from), &body.path_of(to));
        if name == "default" && default.is_none() {
            default = Some(identity);
        } else {
            others.push(identity);
        }
    }
    (default, others)
}

pub(super) fn identity(mut body: Body<'_, '_>) -> WorkloadIdentity {
    let identity = WorkloadIdentity {
        name: body.text("name"),
        audience: body.texts("aud"),
        change_mode: body.text("change_mode"),
        change_signal: body.text("change_signal"),
        env: body.flag("env"),
        file: body.flag("file"),
        filepath: body.text("filepath"),
        service_name: body.text("service_name"),
        ttl: body.nanos("ttl"),
        extra_claims: body.texts("extra_claims"),
    };
    body.finish();
    identity
}
