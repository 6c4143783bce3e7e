//! Reading again while the servers cannot answer: an election passes, and a monitor should outlive it.

use std::time::Duration;

use orch_api::client::Error;
use tokio::time::Instant;

/// How long reads are tried again.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// The answer of `read`, which is tried again while that may help; in the end, its error.
pub(super) async fn patiently<T>(read: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    let mut deadline = None;
    loop {
        match read().await {
            Err(error) if may_pass(&error) => {
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
                if Instant::now() >= deadline {
                    return Err(error);
                }
                tokio::time::sleep(PAUSE).await;
            }
            answered => return answered,
        }
    }
}

fn may_pass(error: &Error) -> bool {
    match error {
        Error::Unreachable { .. } | Error::Broken { .. } | Error::Timeout { .. } => true,
        Error::Status { status, .. } => status.is_server_error(),
        Error::Decode { .. } | Error::Encode(_) | Error::Request { .. } | Error::Ended { .. } | Error::Lost { .. } => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use http::StatusCode;

    use super::*;

    fn refused(status: StatusCode) -> Error {
        Error::Status { status, message: "no cluster leader".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_without_leader_is_sat_out_and_what_is_wrong_is_told_at_once() {
        let tries = Cell::new(0);
        let read = async || {
            tries.set(tries.get() + 1);
            if tries.get() < 5 { Err(refused(StatusCode::INTERNAL_SERVER_ERROR)) } else { Ok("answer") }
        };
        assert_eq!(patiently(read).await.unwrap(), "answer");

        tries.set(0);
        let missing = async || {
            tries.set(tries.get() + 1);
            Err::<(), _>(refused(StatusCode::NOT_FOUND))
        };
        assert!(patiently(missing).await.unwrap_err().is_not_found());
        assert_eq!(tries.get(), 1);

        let begun = Instant::now();
        let never = async || Err::<(), _>(refused(StatusCode::SERVICE_UNAVAILABLE));
        assert!(patiently(never).await.is_err());
        assert_eq!(begun.elapsed(), PATIENCE);
    }
}
