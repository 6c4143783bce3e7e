//! Images: brought here before a task needs them, counted while tasks use them, removed some time after the last.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard::query_parameters::{ImportImageOptions, RemoveImageOptions};
use futures::StreamExt;
use orch_driver::{Error, TaskId, TaskSpec};
use tokio_util::io::ReaderStream;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use crate::auth;
use crate::config::Config;
use crate::engine::{self, Engine};
use crate::pull::{Order, Patience, Pulls};
use crate::reference::Reference;
use crate::task_config::TaskConfig;

/// The images of this node's tasks. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Images(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Arc<Engine>,
    config: Arc<Config>,
    pulls: Pulls,
    uses: Mutex<BTreeMap<String, Uses>>,
}

/// Who uses an image, or when it goes.
#[derive(Debug)]
enum Uses {
    By(BTreeSet<TaskId>),
    Nobody { _removal: AbortOnDropHandle<()> },
}

/// A task's use of an image, given back on drop.
#[derive(Debug)]
pub(crate) struct InUse {
    images: Images,
    image: String,
    task: TaskId,
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.images.release(&self.image, &self.task);
    }
}

impl Images {
    pub(crate) fn new(engine: Arc<Engine>, config: Arc<Config>) -> Self {
        Self(Arc::new(Inner { engine, config, pulls: Pulls::default(), uses: Mutex::default() }))
    }

    /// Sees to it that a task's image is here.
    ///
    /// # Errors
    /// [`Error::StartFailed`], mostly worth another try: registries come back.
    pub(crate) async fn ensure(&self, spec: &TaskSpec, task: &TaskConfig) -> Result<InUse, Error> {
        let reference = Reference::parse(&task.image);
        if let Some(archive) = &task.load {
            self.load(&spec.dirs.task, archive).await?;
        } else if task.force_pull || reference.is_moving() || self.find(&reference, &task.platform).await?.is_none() {
            self.pull(&reference, spec, task).await?;
        }
        let image = self.find(&reference, "").await?.ok_or_else(|| {
            let from = task.load.as_ref().map_or_else(String::new, |archive| format!(" in {archive}"));
            Error::StartFailed { message: format!("there is no image {reference}{from}"), recoverable: false }
        })?;
        Ok(self.acquire(image, &spec.id))
    }

    /// Notes that `task` uses the image with that id.
    pub(crate) fn acquire(&self, image: String, task: &TaskId) -> InUse {
        let mut uses = self.lock();
        match uses.entry(image.clone()).or_insert_with(|| Uses::By(BTreeSet::new())) {
            Uses::By(tasks) => drop(tasks.insert(task.clone())),
            // Its removal is called off.
            nobody @ Uses::Nobody { .. } => *nobody = Uses::By(BTreeSet::from([task.clone()])),
        }
        InUse { images: self.clone(), image, task: task.clone() }
    }

    fn release(&self, image: &str, task: &TaskId) {
        let mut uses = self.lock();
        let Some(Uses::By(tasks)) = uses.get_mut(image) else { return };
        tasks.remove(task);
        if !tasks.is_empty() {
            return;
        }
        let runtime = tokio::runtime::Handle::try_current();
        match runtime {
            Ok(runtime) if self.0.config.gc.image => {
                let removal = runtime.spawn(remove_later(Arc::downgrade(&self.0), image.to_owned()));
                uses.insert(image.to_owned(), Uses::Nobody { _removal: AbortOnDropHandle::new(removal) });
            }
            Ok(_) | Err(_) => drop(uses.remove(image)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Uses>> {
        self.0.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id of an image that is here; one for another platform than asked for is as good as none.
    async fn find(&self, reference: &Reference, platform: &str) -> Result<Option<String>, Error> {
        let docker = self.0.engine.client().map_err(|error| unreachable_engine(&error))?;
        let image = match docker.inspect_image(&reference.to_string()).await {
            Ok(image) => image,
            Err(error) if engine::is_missing(&error) => return Ok(None),
            Err(error) => return Err(failed(format!("looking for image {reference}"), &error)),
        };
        let own = [image.os, image.architecture, image.variant];
        let own = own.iter().map(|part| part.as_deref().unwrap_or_default());
        let fits = platform.is_empty() || platform.split('/').zip(own).all(|(asked, own)| asked == own);
        Ok(image.id.filter(|_| fits))
    }

    async fn pull(&self, reference: &Reference, spec: &TaskSpec, task: &TaskConfig) -> Result<(), Error> {
        let config = &self.0.config;
        let credentials = match auth::find(reference.registry(), task.auth.as_ref(), &config.auth).await {
            Ok(credentials) => credentials,
            Err(error) if task.auth_soft_fail => {
                warn!(alloc_id = %spec.id.alloc_id, task = spec.id.task, %error, "pulling an image without credentials");
                None
            }
            Err(error) => {
                return Err(Error::StartFailed { message: error.to_string(), recoverable: true });
            }
        };
        let order = Order { reference: reference.clone(), platform: task.platform.clone(), credentials };
        let patience = Patience {
            whole: task.image_pull_timeout.unwrap_or(config.image_pull_timeout),
            idle: config.pull_activity_timeout,
        };
        let pulled = self.0.pulls.pull(&self.0.engine, order, patience, &spec.progress).await;
        pulled.map_err(|message| Error::StartFailed { message, recoverable: true })
    }

    /// Loads an archive of the task's directory into the engine.
    async fn load(&self, task_dir: &Path, archive: &str) -> Result<(), Error> {
        let refused =
            |why: String| Error::StartFailed { message: format!("load: {archive}: {why}"), recoverable: false };
        let path = within(task_dir, archive).await.map_err(refused)?;
        let file = tokio::fs::File::open(&path).await.map_err(|error| refused(error.to_string()))?;
        let docker = self.0.engine.client().map_err(|error| unreachable_engine(&error))?;
        let mut news =
            Box::pin(docker.import_image_stream(ImportImageOptions::default(), ReaderStream::new(file), None));
        while let Some(answer) = news.next().await {
            answer.map_err(|error| refused(engine::words(&error)))?;
        }
        Ok(())
    }
}

/// The real path of `relative` in `directory`; links may not lead out of it.
async fn within(directory: &Path, relative: &str) -> Result<PathBuf, String> {
    let real = |path: PathBuf| async move { tokio::fs::canonicalize(&path).await.map_err(|error| error.to_string()) };
    let (directory, path) = (real(directory.to_owned()).await?, real(directory.join(relative)).await?);
    if path.starts_with(&directory) { Ok(path) } else { Err("it is not in the task's directory".to_owned()) }
}

async fn remove_later(images: std::sync::Weak<Inner>, image: String) {
    let Some(delay) = images.upgrade().map(|images| images.config.gc.image_delay) else { return };
    tokio::time::sleep(delay).await;
    let Some(images) = images.upgrade() else { return };
    let Ok(docker) = images.engine.client() else { return };
    // By its id and without force: one that has other names, or is used by others, stays.
    match docker.remove_image(&image, None::<RemoveImageOptions>, None).await {
        Ok(_) => info!(image, "removed an image that no task uses any more"),
        Err(error) => debug!(image, error = engine::words(&error), "an unused image stays"),
    }
    let mut uses = images.uses.lock().unwrap_or_else(PoisonError::into_inner);
    if matches!(uses.get(&image), Some(Uses::Nobody { .. })) {
        uses.remove(&image);
    }
}

fn unreachable_engine(error: &bollard::errors::Error) -> Error {
    Error::StartFailed { message: engine::words(error), recoverable: true }
}

fn failed(doing: String, error: &bollard::errors::Error) -> Error {
    Error::StartFailed { message: format!("{doing} failed: {}", engine::words(error)), recoverable: true }
}
