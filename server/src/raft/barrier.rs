//! Read barriers: one round to the quorum serves every read that waited when it began.

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::consensus::Error;

/// The end of a round: the log index to wait for; `None` while it has not ended.
type Outcome = Option<Result<u64, Error>>;

/// Shares read barriers among readers.
#[derive(Debug, Default)]
pub(super) struct Barriers {
    /// Held by whoever runs a round.
    turn: tokio::sync::Mutex<()>,
    /// Told when the next round, which covers everyone who waits now, has ended.
    next: Mutex<Option<watch::Sender<Outcome>>>,
}

impl Barriers {
    /// Waits for a round that began after this call; `round` runs one. Answers the log index to wait for.
    pub(super) async fn pass<F, Fut>(&self, round: F) -> Result<u64, Error>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<u64, Error>>,
    {
        let mut waiting = self.register();
        loop {
            let cancelled = tokio::select! {
                biased;
                ended = async { waiting.wait_for(Option::is_some).await.map(|outcome| outcome.clone()) } => match ended {
                    Ok(Some(result)) => return result,
                    Ok(None) => false,
                    Err(_) => true,
                },
                turn = self.turn.lock() => {
                    // The round that is waited for has not begun, else its runner would hold the turn.
                    if let Some(mine) = self.take_next() {
                        let result = round().await;
                        mine.send_replace(Some(result));
                    }
                    drop(turn);
                    false
                }
            };
            if cancelled {
                // Whoever ran the round is gone: wait for another.
                waiting = self.register();
            }
        }
    }

    fn register(&self) -> watch::Receiver<Outcome> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.get_or_insert_with(|| watch::Sender::new(None)).subscribe()
    }

    fn take_next(&self) -> Option<watch::Sender<Outcome>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn reads_that_wait_share_one_round_and_none_joins_a_round_that_has_begun() {
        let barriers = Arc::new(Barriers::default());
        let rounds = Arc::new(AtomicU64::new(0));
        let gate = Arc::new(Semaphore::new(0));
        let read = || {
            let (barriers, rounds, gate) = (Arc::clone(&barriers), Arc::clone(&rounds), Arc::clone(&gate));
            tokio::spawn(async move {
                barriers
                    .pass(|| async {
                        let number = rounds.fetch_add(1, Ordering::SeqCst) + 1;
                        gate.acquire().await.unwrap().forget();
                        Ok(number)
                    })
                    .await
                    .unwrap()
            })
        };
        let first = read();
        while rounds.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let later: Vec<_> = (0..50).map(|_| read()).collect();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(2);
        assert_eq!(first.await.unwrap(), 1);
        for read in later {
            assert_eq!(read.await.unwrap(), 2);
        }
        assert_eq!(rounds.load(Ordering::SeqCst), 2);
    }
}
