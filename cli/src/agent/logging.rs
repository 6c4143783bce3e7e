//! Where the agent's messages go.

use std::io;
use std::sync::Arc;

use anyhow::Context as _;
use orch_config::{LogFormat, LogLevel, LoggingConfig};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use super::log_file::RotatedFile;

/// The agent's messages: to standard error, and to a file if there is one.
#[derive(Debug)]
pub(super) struct Logging {
    level: reload::Handle<EnvFilter, Registry>,
    file: Option<Arc<RotatedFile>>,
}

impl Logging {
    /// Begins to log.
    pub(super) fn start(config: &LoggingConfig) -> anyhow::Result<Self> {
        let (filter, level) = reload::Layer::new(filter(config.level));
        let file = match &config.file {
            Some(file) => {
                let opened = RotatedFile::open(file.clone());
                let opened = opened.with_context(|| format!("cannot write the log file {}", file.path.display()))?;
                Some(Arc::new(opened))
            }
            None => None,
        };
        let to_file = file.clone().map(|file| layer(config, file));
        let subscriber = Registry::default().with(filter).with(layer(config, std::io::stderr)).with(to_file);
        subscriber.try_init().context("cannot begin to log")?;
        Ok(Self { level, file })
    }

    /// Opens the log file again, if there is one: what rotates logs from outside may have moved it away.
    pub(super) fn reopen(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.reopen())
    }

    /// Changes what is logged from now on.
    pub(super) fn set_level(&self, level: LogLevel) -> Result<(), reload::Error> {
        self.level.reload(filter(level))
    }
}

/// Libraries below us speak up only where a person should know.
fn filter(level: LogLevel) -> EnvFilter {
    let quiet = match level {
        LogLevel::Trace => "debug",
        LogLevel::Debug | LogLevel::Info | LogLevel::Warn => "warn",
        LogLevel::Error => "error",
        LogLevel::Off => "off",
    };
    let mut directives = level.as_str().to_owned();
    for library in ["openraft", "h2", "hyper", "hyper_util", "tonic", "tower"] {
        directives.push_str(&format!(",{library}={quiet}"));
    }
    EnvFilter::new(directives)
}

fn layer<S, W>(config: &LoggingConfig, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(false)
        .with_file(config.with_location)
        .with_line_number(config.with_location);
    match config.format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}
