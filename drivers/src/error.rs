//! Why a driver could not do what it was asked.

use crate::spec::TaskId;

/// Why a driver could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The task's `config` is not valid for this driver.
    #[error("driver configuration: {message}")]
    InvalidConfig {
        /// Which key, and what is wrong with it.
        message: String,
    },
    /// It could not be started; trying again may help.
    #[error("{message}")]
    StartFailed {
        /// What went wrong, and at which step.
        message: String,
        /// Whether trying again may help.
        recoverable: bool,
    },
    /// There is no such task, or not any more.
    #[error("task {0} is not known to the driver")]
    UnknownTask(TaskId),
    /// The driver cannot do that.
    #[error("driver {driver} does not support {operation}")]
    Unsupported {
        /// The driver's name.
        driver: &'static str,
        /// What was asked.
        operation: &'static str,
    },
    /// Something beneath the driver failed.
    #[error("{message}")]
    Failed {
        /// What was being done.
        message: String,
        /// Why it failed.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl Error {
    /// A failure of something beneath the driver, while doing `message`.
    pub fn failed(message: impl Into<String>, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Failed { message: message.into(), source: Some(Box::new(source)) }
    }

    /// Whether starting the task again may help.
    pub const fn is_recoverable(&self) -> bool {
        match self {
            Self::StartFailed { recoverable, .. } => *recoverable,
            Self::InvalidConfig { .. } | Self::Unsupported { .. } => false,
            Self::UnknownTask(_) | Self::Failed { .. } => true,
        }
    }
}
