//! Evaluations.

use super::{Client, Error, QueryMeta, QueryOptions, path};
use crate::allocation::AllocListStub;
use crate::evaluation::{EvalCountResponse, Evaluation};

impl Client {
    /// The evaluations.
    pub async fn evaluations(&self, options: &QueryOptions) -> Result<(Vec<Evaluation>, QueryMeta), Error> {
        self.get("/v1/evaluations", options).await
    }

    /// How many evaluations there are.
    pub async fn evaluation_count(&self, options: &QueryOptions) -> Result<(EvalCountResponse, QueryMeta), Error> {
        self.get("/v1/evaluations/count", options).await
    }

    /// An evaluation, with those connected to it; the id must be complete.
    pub async fn evaluation(&self, id: &str, options: &QueryOptions) -> Result<(Evaluation, QueryMeta), Error> {
        self.get_with(&path(["evaluation", id]), options, &[("related", "true")]).await
    }

    /// The allocations that an evaluation placed.
    pub async fn evaluation_allocations(
        &self,
        id: &str,
        options: &QueryOptions,
    ) -> Result<(Vec<AllocListStub>, QueryMeta), Error> {
        self.get(&path(["evaluation", id, "allocations"]), options).await
    }
}
