//! Finding things by the first characters of their ids.

use orch_api::search::{SearchRequest, SearchResponse};
use orch_model::{AllocId, DeploymentId, EvalId, Namespace, NodeId};

use crate::Response;
use crate::call::Call;
use crate::control::{Scope, Table, View};
use crate::error::Error;
use crate::query;
use crate::{ids, limits};

/// The kinds of things that can be searched.
const CONTEXTS: [&str; 8] =
    ["allocs", "deployment", "evals", "host_volumes", "jobs", "namespaces", "node_pools", "nodes"];

/// `/v1/search`
pub(crate) async fn prefix(mut call: Call) -> Result<Response, Error> {
    call.must_put()?;
    let request: SearchRequest = call.json().await?;
    let contexts: Vec<&str> = match request.context.as_str() {
        "" | "all" => CONTEXTS.to_vec(),
        one => CONTEXTS.iter().copied().filter(|context| *context == one).collect(),
    };
    if contexts.is_empty() {
        let known = CONTEXTS.join(", ");
        return Err(Error::invalid(format!("context {:?} is not one of {known} and all", request.context)));
    }
    let namespace = match request.namespace.as_str() {
        "" => call.read()?.namespace,
        "*" => None,
        name => Some(Namespace::new(name)),
    };
    let tables = [Table::Jobs, Table::Allocs, Table::Evals, Table::Deployments, Table::HostVolumes, Table::Nodes];
    let scopes = tables.map(Scope::Table);
    query::enveloped(&call, &scopes, |view, meta| {
        let mut response = SearchResponse {
            index: meta.index.0,
            last_contact: meta.last_contact_nanos(),
            known_leader: meta.known_leader,
            ..SearchResponse::default()
        };
        let search = Search { view, namespace: namespace.as_ref(), prefix: &request.prefix };
        for context in contexts {
            let mut matches = search.matches(context);
            let truncated = matches.len() > limits::SEARCH_MATCHES;
            matches.truncate(limits::SEARCH_MATCHES);
            response.truncations.insert(context.to_owned(), truncated);
            if !matches.is_empty() {
                response.matches.insert(context.to_owned(), matches);
            }
        }
        Ok(response)
    })
    .await
}

struct Search<'a> {
    view: &'a dyn View,
    namespace: Option<&'a Namespace>,
    prefix: &'a str,
}

impl Search<'_> {
    /// The ids of one kind, one more than are shown if there are that many.
    fn matches(&self, context: &str) -> Vec<String> {
        let named = |names: Vec<String>| -> Vec<String> {
            names.into_iter().filter(|name| name.starts_with(self.prefix)).take(limits::SEARCH_MATCHES + 1).collect()
        };
        match context {
            "jobs" => {
                let jobs = self.view.jobs(self.namespace, self.prefix);
                jobs.iter().take(limits::SEARCH_MATCHES + 1).map(|job| job.id.to_string()).collect()
            }
            "namespaces" => named(self.view.namespaces().into_iter().map(|namespace| namespace.name).collect()),
            "node_pools" => named(self.view.node_pools().into_iter().map(|pool| pool.name).collect()),
            _ => self.matches_of_uuids(context),
        }
    }

    fn matches_of_uuids(&self, context: &str) -> Vec<String> {
        // A text that begins no id matches none.
        let Ok((first, last)) = ids::range(self.prefix) else { return Vec::new() };
        let here = |namespace: &Namespace| self.namespace.is_none_or(|wanted| wanted == namespace);
        let most = limits::SEARCH_MATCHES + 1;
        match context {
            "allocs" => {
                let allocs = self.view.allocs_between(AllocId::from_uuid(first), AllocId::from_uuid(last));
                let here = allocs.iter().filter(|alloc| here(&alloc.job.namespace));
                here.take(most).map(|alloc| alloc.id.to_string()).collect()
            }
            "evals" => {
                let evals = self.view.evals_between(EvalId::from_uuid(first), EvalId::from_uuid(last));
                evals.iter().filter(|eval| here(&eval.namespace)).take(most).map(|eval| eval.id.to_string()).collect()
            }
            "deployment" => {
                let found =
                    self.view.deployments_between(DeploymentId::from_uuid(first), DeploymentId::from_uuid(last));
                let here = found.iter().filter(|deployment| here(&deployment.job_key().namespace));
                here.take(most).map(|deployment| deployment.id.to_string()).collect()
            }
            "host_volumes" => {
                let volumes = self.view.host_volumes(self.namespace);
                let found = volumes.iter().filter(|volume| (first..=last).contains(&volume.id.as_uuid()));
                found.take(most).map(|volume| volume.id.to_string()).collect()
            }
            "nodes" => {
                let nodes = self.view.nodes_between(NodeId::from_uuid(first), NodeId::from_uuid(last));
                nodes.iter().take(most).map(|node| node.id.to_string()).collect()
            }
            _ => Vec::new(),
        }
    }
}
