//! Downloads of images: one at a time for each image and set of credentials, however many tasks wait for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptions;
use futures::StreamExt;
use orch_driver::Progress;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::auth::Credentials;
use crate::engine::{self, Engine};
use crate::reference::Reference;

/// How often a task is told how far its download is.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Which image to download, and with what.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    pub(crate) reference: Reference,
    /// Empty for the engine's own.
    pub(crate) platform: String,
    pub(crate) credentials: Option<Credentials>,
}

/// How long a download may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) whole: Duration,
    /// Without anything happening.
    pub(crate) idle: Duration,
}

/// The downloads that are going on.
#[derive(Debug, Default)]
pub(crate) struct Pulls {
    going: Mutex<Vec<(Order, Weak<Pull>)>>,
}

/// A download; it ends early when nobody waits for it any more.
#[derive(Debug)]
struct Pull {
    state: watch::Receiver<State>,
    _worker: AbortOnDropHandle<()>,
}

#[derive(Debug, Clone, Default)]
struct State {
    progress: String,
    outcome: Option<Result<(), String>>,
}

impl Pulls {
    /// Downloads an image, or waits for a download of the same that is going on.
    ///
    /// # Errors
    /// Why it failed, in a sentence.
    pub(crate) async fn pull(
        &self,
        engine: &Arc<Engine>,
        order: Order,
        patience: Patience,
        progress: &Progress,
    ) -> Result<(), String> {
        progress.tell("Downloading image");
        let pull = self.join(engine, order.clone(), patience.idle);
        let mut state = pull.state.clone();
        let until = Instant::now() + patience.whole;
        let mut told = String::new();
        let mut tell = tokio::time::interval_at(Instant::now() + TELL_EVERY, TELL_EVERY);
        loop {
            tokio::select! {
                ended = timeout_at(until, state.wait_for(|state| state.outcome.is_some())) => {
                    let Ok(ended) = ended else {
                        let secs = patience.whole.as_secs();
                        return Err(format!("the download of {} was given up after {secs} s", order.reference));
                    };
                    let Ok(state) = ended else {
                        return Err(format!("the download of {} was broken off", order.reference));
                    };
                    return state.outcome.clone().unwrap_or(Ok(()));
                }
                _ = tell.tick() => {
                    let now = pull.state.borrow().progress.clone();
                    if !now.is_empty() && now != told {
                        progress.tell(format!("Docker image pull progress: {now}"));
                        told = now;
                    }
                }
            }
        }
    }

    fn join(&self, engine: &Arc<Engine>, order: Order, idle: Duration) -> Arc<Pull> {
        let mut going = self.going.lock().unwrap_or_else(PoisonError::into_inner);
        going.retain(|(_, pull)| pull.strong_count() > 0);
        let same = going.iter().filter(|(known, _)| *known == order).find_map(|(_, pull)| pull.upgrade());
        // One that has just ended may have failed for a reason that is gone.
        if let Some(pull) = same.filter(|pull| pull.state.borrow().outcome.is_none()) {
            return pull;
        }
        let (told, state) = watch::channel(State::default());
        let work = work(Arc::clone(engine), order.clone(), idle, told);
        let pull = Arc::new(Pull { state, _worker: AbortOnDropHandle::new(tokio::spawn(work)) });
        going.push((order, Arc::downgrade(&pull)));
        pull
    }
}

async fn work(engine: Arc<Engine>, order: Order, idle: Duration, told: watch::Sender<State>) {
    let outcome = download(&engine, &order, idle, &told).await;
    told.send_modify(|state| state.outcome = Some(outcome));
}

async fn download(engine: &Engine, order: &Order, idle: Duration, told: &watch::Sender<State>) -> Result<(), String> {
    let failed = |error| format!("Failed to pull {}: {}", order.reference, engine::words(&error));
    let docker = engine.client().map_err(failed)?;
    let options = CreateImageOptions {
        from_image: Some(order.reference.repository.clone()),
        tag: Some(order.reference.version().to_owned()),
        platform: order.platform.clone(),
        ..CreateImageOptions::default()
    };
    let credentials = order.credentials.as_ref().map(Credentials::for_engine);
    let mut news = docker.create_image(Some(options), None, credentials);
    let mut layers = Layers::default();
    loop {
        let next = timeout(idle, news.next()).await;
        let next =
            next.map_err(|_| format!("the download of {} stood still for {} s", order.reference, idle.as_secs()))?;
        let Some(info) = next else { return Ok(()) };
        layers.note(info.map_err(failed)?);
        told.send_modify(|state| state.progress = layers.to_string());
    }
}

/// How far each layer is.
#[derive(Debug, Default)]
struct Layers(BTreeMap<String, Layer>);

#[derive(Debug, Default)]
struct Layer {
    done: bool,
    bytes: i64,
    of: i64,
}

impl Layers {
    fn note(&mut self, info: CreateImageInfo) {
        let (Some(id), Some(status)) = (info.id, info.status) else { return };
        // The first line names the image by its tag.
        if status.starts_with("Pulling from") {
            return;
        }
        let layer = self.0.entry(id).or_default();
        layer.done = matches!(status.as_str(), "Pull complete" | "Already exists");
        if let Some(detail) = info.progress_detail.filter(|_| status == "Downloading") {
            layer.bytes = detail.current.unwrap_or(layer.bytes);
            layer.of = detail.total.unwrap_or(layer.of);
        } else if status == "Download complete" || layer.done {
            layer.bytes = layer.of;
        }
    }
}

impl std::fmt::Display for Layers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let done = self.0.values().filter(|layer| layer.done).count();
        let (bytes, of) = self.0.values().fold((0, 0), |sum, layer| (sum.0 + layer.bytes, sum.1 + layer.of));
        let mib = |bytes: i64| format!("{}.{} MiB", bytes / (1 << 20), bytes % (1 << 20) * 10 / (1 << 20));
        write!(f, "pulled {done}/{} layers, {} of {}", self.0.len(), mib(bytes), mib(of))
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;
    use crate::config::Config;

    /// An engine that counts what it is asked for, and answers when it is told to.
    struct SlowEngine {
        engine: Arc<Engine>,
        asked: Arc<AtomicU32>,
        answers: watch::Sender<bool>,
        _directory: tempfile::TempDir,
        _server: AbortOnDropHandle<()>,
    }

    impl SlowEngine {
        fn new(answer: &'static str) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let socket = directory.path().join("docker.sock");
            let listener = UnixListener::bind(&socket).unwrap();
            let endpoint = format!("unix://{}", socket.display());
            let engine = Arc::new(Engine::new(&Config { endpoint, ..Config::default() }));
            let asked = Arc::new(AtomicU32::new(0));
            let (answers, answer_now) = watch::channel(false);
            let count = Arc::clone(&asked);
            let server = tokio::spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    count.fetch_add(1, Ordering::Relaxed);
                    assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
                    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
                    stream.write_all(head.as_bytes()).await.unwrap();
                    answer_now.clone().wait_for(|now| *now).await.unwrap();
                    let body = format!("{:x}\r\n{answer}\r\n0\r\n\r\n", answer.len());
                    stream.write_all(body.as_bytes()).await.unwrap();
                }
            });
            let server = AbortOnDropHandle::new(server);
            Self { engine, asked, answers, _directory: directory, _server: server }
        }

        async fn pull(&self, pulls: &Pulls, platform: &str, whole: u64, idle: u64) -> Result<(), String> {
            let reference = Reference::parse("redis:7");
            let order = Order { reference, platform: platform.to_owned(), credentials: None };
            let patience = Patience { whole: Duration::from_millis(whole), idle: Duration::from_millis(idle) };
            pulls.pull(&self.engine, order, patience, &Progress::default()).await
        }
    }

    #[tokio::test]
    async fn one_download_serves_all_who_wait_for_the_same() {
        let slow = SlowEngine::new("{\"status\":\"Pull complete\",\"id\":\"a\"}\n");
        let pulls = Pulls::default();
        let answer = async {
            // Polled after the others, so they wait already.
            slow.answers.send_replace(true);
        };
        let (first, second, other, ()) = tokio::join!(
            slow.pull(&pulls, "", 60_000, 60_000),
            slow.pull(&pulls, "", 60_000, 60_000),
            slow.pull(&pulls, "linux/arm64", 60_000, 60_000),
            answer
        );
        assert_eq!((first, second, other), (Ok(()), Ok(()), Ok(())));
        assert_eq!(slow.asked.load(Ordering::Relaxed), 2, "once for each platform");
    }

    #[tokio::test]
    async fn a_download_that_takes_too_long_or_stands_still_is_given_up() {
        let slow = SlowEngine::new("");
        let pulls = Pulls::default();
        let late = slow.pull(&pulls, "", 50, 60_000).await.unwrap_err();
        assert!(late.contains("redis:7 was given up"), "{late}");
        let idle = slow.pull(&pulls, "", 60_000, 50).await.unwrap_err();
        assert!(idle.contains("stood still"), "{idle}");
    }

    #[tokio::test]
    async fn what_a_registry_refuses_is_told() {
        let slow = SlowEngine::new("{\"errorDetail\":{\"message\":\"denied\"},\"error\":\"denied\"}\n");
        slow.answers.send_replace(true);
        let refused = slow.pull(&Pulls::default(), "", 60_000, 60_000).await.unwrap_err();
        assert_eq!(refused, "Failed to pull redis:7: denied");
    }

    #[test]
    fn progress_counts_layers_and_bytes() {
        let mut layers = Layers::default();
        assert_eq!(layers.to_string(), "");
        let mut note = |id: &str, status: &str, detail: Option<(i64, i64)>| {
            layers.note(CreateImageInfo {
                id: Some(id.to_owned()),
                status: Some(status.to_owned()),
                progress_detail: detail
                    .map(|(current, total)| ProgressDetail { current: Some(current), total: Some(total) }),
                ..CreateImageInfo::default()
            });
            layers.to_string()
        };
        assert_eq!(note("latest", "Pulling from library/redis", None), "");
        note("a", "Downloading", Some((1 << 20, 3 << 20)));
        assert_eq!(note("b", "Already exists", None), "pulled 1/2 layers, 1.0 MiB of 3.0 MiB");
        note("a", "Download complete", None);
        assert_eq!(note("a", "Extracting", Some((5, 9))), "pulled 1/2 layers, 3.0 MiB of 3.0 MiB");
        assert_eq!(note("a", "Pull complete", None), "pulled 2/2 layers, 3.0 MiB of 3.0 MiB");
    }
}
