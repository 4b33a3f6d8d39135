//! What can go wrong with the development chain.
//!
//! [`DevChainError`] is for whoever starts and stops it; what a caller of its RPC sees is a [`RpcFault`], with the
//! codes that Substrate nodes use, so that a client need not know which node it speaks to.

use sp_core::H256;

/// Why the chain does not start, or does not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevChainError {
    /// The data directory could not be opened or written.
    #[error("the development chain's data directory")]
    Store(#[from] StoreError),
    /// The genesis asks for something impossible.
    #[error("the development chain's genesis: {0}")]
    Genesis(&'static str),
    /// The runtime did not do what every runtime does.
    #[error("the development chain's runtime")]
    Runtime(#[from] ExecutionError),
    /// The address could not be listened on.
    #[error("listening on {addr}")]
    Listen {
        /// The address.
        addr: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The address can be reached from other machines.
    #[error("{0} is not a loopback address; the development chain does not listen elsewhere")]
    NotLoopback(std::net::SocketAddr),
    /// Opening panicked or was cancelled.
    #[error("opening the development chain did not end well")]
    Opening(#[from] tokio::task::JoinError),
    /// A method was registered twice.
    #[error("the RPC methods")]
    Methods(#[from] jsonrpsee::core::RegisterMethodError),
}

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The engine failed.
    #[error("the node store")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another process uses the directory.
    #[error("another process uses the directory")]
    Locked,
    /// The disk failed.
    #[error("syncing the node store")]
    Io(#[from] std::io::Error),
    /// A stored value is not what it should be.
    #[error("a stored value does not decode")]
    Decode(#[from] codec::Error),
    /// The directory contradicts itself.
    #[error("the directory is damaged: {0}")]
    Corrupt(&'static str),
    /// The directory was written by another version.
    #[error("the directory has another format; start a new one")]
    Format,
    /// A write failed earlier.
    #[error("an earlier write failed; close and open the chain again")]
    Poisoned,
}

/// Why a runtime call gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecutionError {
    /// There is no such function.
    #[error("the runtime has no function {0}")]
    NoMethod(String),
    /// The runtime panicked; mostly: the arguments did not decode.
    #[error("the runtime panicked in {0}")]
    Panicked(String),
    /// What it gave back does not decode.
    #[error("the result of {method} does not decode")]
    Decode {
        /// The function.
        method: &'static str,
        /// Why.
        source: codec::Error,
    },
    /// A block's state is not what its header says.
    #[error("the state root {computed:?} is not the header's {claimed:?}")]
    Root {
        /// Of the state.
        computed: H256,
        /// Of the header.
        claimed: H256,
    },
    /// The block was not accepted as it should be.
    #[error("the runtime refused its own block: {0}")]
    Refused(String),
}

/// An error as JSON-RPC carries it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code})")]
pub(crate) struct RpcFault {
    pub(crate) code: i32,
    pub(crate) message: String,
    pub(crate) data: Option<String>,
}

impl RpcFault {
    pub(crate) fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    pub(crate) fn with_data(mut self, data: impl Into<String>) -> Self {
        self.data = Some(data.into());
        self
    }

    pub(crate) fn no_method() -> Self {
        Self::new(-32601, "Method not found")
    }

    pub(crate) fn bad_params(why: impl Into<String>) -> Self {
        Self::new(-32602, "Invalid params").with_data(why)
    }

    pub(crate) fn stopped() -> Self {
        Self::new(-32000, "the development chain has been stopped")
    }

    pub(crate) fn unknown_block(why: impl Into<String>) -> Self {
        Self::new(4003, why)
    }
}

impl From<StoreError> for RpcFault {
    fn from(error: StoreError) -> Self {
        Self::new(-32603, "Internal error").with_data(error.to_string())
    }
}

impl From<ExecutionError> for RpcFault {
    fn from(error: ExecutionError) -> Self {
        Self::new(4003, "Client error: Execution failed").with_data(error.to_string())
    }
}
