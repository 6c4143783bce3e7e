//! An allocation takes over what an earlier one left in its ephemeral disk: on this node by moving it, from another by
//! fetching it through a server.

use std::time::Duration;

use futures::TryStreamExt;
use orch_http::{Body, Kind};
use orch_model::AllocId;
use orch_model::allocation::EventKind;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::AllocRunner;
use super::machine::AllocEvent;
use super::task::Event;
use crate::alloc_dir::AllocDir;
use crate::error::chain;
use crate::session::tunnel;
use crate::snapshot;

/// How long the earlier allocation may take to end before its data is given up.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// How often a failure that may pass is put up with.
const TRIES: u32 = 5;
/// How long between two attempts.
const PAUSE: Duration = Duration::from_secs(2);
/// How many pieces of the archive wait to be unpacked; the sender waits when they are full.
const PIECES: usize = 16;

/// The allocation whose data is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Predecessor {
    /// It was on this node, and nothing of it runs.
    Here(AllocId),
    /// It was on another node.
    Elsewhere(AllocId),
}

/// Why the data did not come.
enum Failure {
    /// The earlier allocation has not ended.
    NotYet,
    /// It may work later.
    Passing(String),
    /// It never will.
    Final(String),
}

impl AllocRunner {
    /// Takes over the data of the earlier allocation, before any task starts. What cannot be had is told and done without.
    ///
    /// `false` if the agent stops meanwhile: its next start tries again.
    pub(super) async fn succeed(&mut self, detach: &CancellationToken) -> bool {
        let Some(predecessor) = self.predecessor.take() else { return true };
        if self.wanted.borrow().stop.is_some() {
            return true;
        }
        self.publish().await;
        let alone = Succession {
            context: std::sync::Arc::clone(&self.context),
            dir: self.dir.clone(),
            tasks: self.machine.tasks().iter().map(|member| member.name.clone()).collect(),
        };
        let outcome = {
            let mut wanted = self.wanted.clone();
            tokio::select! {
                () = detach.cancelled() => return false,
                outcome = alone.take_over(predecessor) => Some(outcome),
                Ok(_) = wanted.wait_for(|wanted| wanted.stop.is_some()) => None,
            }
        };
        let text = match outcome {
            Some(Ok(text)) => text,
            Some(Err(text)) => {
                warn!(alloc_id = %self.alloc.id, error = text, "an allocation starts without the data of the one before");
                text
            }
            None => {
                self.follow_wanted();
                return true;
            }
        };
        let now = self.context.clock.now();
        for place in 0..self.shells.len() {
            let note = Event::Note(EventKind::TaskSetup(text.clone().into()));
            self.machine.step(now, AllocEvent::Task(place, note));
        }
        true
    }
}

/// What taking over needs.
struct Succession {
    context: std::sync::Arc<crate::context::Context>,
    dir: AllocDir,
    tasks: Vec<String>,
}

impl Succession {
    /// What was done, or why not, in a sentence.
    async fn take_over(&self, predecessor: Predecessor) -> Result<String, String> {
        match predecessor {
            Predecessor::Here(id) => {
                let earlier = AllocDir::new(&self.context.config.alloc_dir, id);
                let (dir, tasks) = (self.dir.clone(), self.tasks.clone());
                let moved = spawn_blocking(move || dir.take_over(&earlier, &tasks)).await;
                moved
                    .map_err(|error| error.to_string())
                    .and_then(|moved| moved.map_err(|error| chain(&error)))
                    .map_err(|error| format!("Data of allocation {} could not be taken over: {error}", id.short()))?;
                Ok(format!("Took over the data of allocation {}", id.short()))
            }
            Predecessor::Elsewhere(id) => {
                let began = Instant::now();
                self.migrate(id)
                    .await
                    .map_err(|error| format!("Data of allocation {} was not migrated: {error}", id.short()))?;
                info!(previous = %id, seconds = began.elapsed().as_secs(), "the data of an earlier allocation was fetched");
                Ok(format!("Migrated the data of allocation {}", id.short()))
            }
        }
    }

    async fn migrate(&self, id: AllocId) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        let mut tries = 0;
        loop {
            let failure = match self.fetch(id).await {
                Ok(()) => return Ok(()),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::NotYet) => "it has not ended".to_owned(),
                Err(Failure::Passing(error)) => {
                    tries += 1;
                    error
                }
            };
            if tries >= TRIES || Instant::now() >= end {
                return Err(failure);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn fetch(&self, id: AllocId) -> Result<(), Failure> {
        let passing = |error: &dyn std::fmt::Display| Failure::Passing(error.to_string());
        let channel = self.context.connected.borrow().clone();
        let channel = channel.ok_or_else(|| passing(&"this client has no connection to a server"))?;
        let request = http::Request::get(format!("/v1/client/allocation/{id}/snapshot"))
            .header("host", "orch")
            .body(Body::empty())
            .map_err(|error| Failure::Final(error.to_string()))?;
        let answer = tunnel(channel, request, &self.context.streams).await.map_err(|error| match error.kind() {
            Kind::NotFound | Kind::NotImplemented | Kind::Invalid | Kind::Forbidden => {
                Failure::Final(error.to_string())
            }
            Kind::Conflict | Kind::TooMany | Kind::NotLeader | Kind::Unavailable | Kind::Internal => passing(&error),
        })?;
        let (head, mut body) = (answer.status(), answer.into_body().into_data_stream());
        if !head.is_success() {
            let text = body.try_next().await.ok().flatten().unwrap_or_default();
            let error = format!("{head}: {}", String::from_utf8_lossy(&text).trim());
            return Err(match head.as_u16() {
                409 => Failure::NotYet,
                408 | 429 | 500.. => Failure::Passing(error),
                _ => Failure::Final(error),
            });
        }
        let (pieces, receiver) = mpsc::channel(PIECES);
        let (dir, tasks) = (self.dir.clone(), self.tasks.clone());
        let unpack = spawn_blocking(move || snapshot::unpack(&dir, &tasks, receiver));
        let feed = async {
            loop {
                let piece = body.try_next().await.map_err(std::io::Error::other).transpose();
                let Some(piece) = piece else { return };
                // Whoever unpacks says itself why it stopped.
                if pieces.send(piece).await.is_err() {
                    return;
                }
            }
        };
        feed.await;
        drop(pieces);
        match unpack.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::Passing(chain(&error))),
            Err(error) => Err(passing(&error)),
        }
    }
}
