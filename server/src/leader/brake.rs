//! Questions of operators about the brake on the loss of nodes, on their way to the detector.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use super::detector::BrakeState;

/// How long an answer may take: the detector looks in at short intervals where this server leads.
const ANSWER: Duration = Duration::from_secs(5);

/// More questions than this mean that nobody takes them.
const KEPT: usize = 64;

/// What an operator wants of the brake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrakeWish {
    /// To know how it stands.
    Status,
    /// That it lets go of whom it holds back now.
    Release,
}

/// A wish, and where its answer goes.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) wish: BrakeWish,
    pub(super) answer: oneshot::Sender<BrakeState>,
}

/// Questions that wait for the detector; nobody answers where this server does not lead.
#[derive(Debug, Default)]
pub struct BrakeDesk {
    waiting: Mutex<Vec<Asked>>,
    bell: Notify,
}

impl BrakeDesk {
    /// Asks, and waits for how the brake stands after that; `None` if this server does not lead.
    pub async fn ask(&self, wish: BrakeWish) -> Option<BrakeState> {
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.len() >= KEPT {
                waiting.clear();
            }
            waiting.push(Asked { wish, answer });
        }
        self.bell.notify_one();
        tokio::time::timeout(ANSWER, answered).await.ok()?.ok()
    }

    /// Waits until somebody asks.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Takes what was asked; those who wait no longer are left out.
    pub(super) fn take(&self) -> Vec<Asked> {
        let mut asked = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        asked.retain(|asked| !asked.answer.is_closed());
        asked
    }
}
