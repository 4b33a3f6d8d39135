//! The one error of dispersal.

use gw_data::DataError;
use gw_db::DbError;
use gw_types::PortError;

/// Why dispersal or a restore stopped.
#[derive(Debug, thiserror::Error)]
pub enum DispersalError {
    /// A port failed in a way that waiting does not mend.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The journal or the catalog.
    #[error(transparent)]
    Db(#[from] DbError),
    /// Segments and their files.
    #[error(transparent)]
    Data(#[from] DataError),
    /// No deal can be made until somebody does what this says.
    #[error("{0}")]
    Held(String),
    /// What the network holds of the log does not fit together.
    #[error("the log on the network: {0}")]
    Log(String),
}
