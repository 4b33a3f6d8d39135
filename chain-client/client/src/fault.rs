//! What the many errors of subxt mean to a caller of the port.
//!
//! [`Fault`] is an error on its way to becoming a [`PortError`], with one fact more: whether the
//! connection is to blame, so that the link drops it and a reading verb tries once more. An answer
//! of the node is never the connection's fault.
//!
//! Dispatch errors, the pallets' own, are named `Pallet.ErrorName` in the message. They are
//! [`PortErrorKind::Full`] where room or money is missing (the list is in [`is_full`]) and
//! [`PortErrorKind::Refused`] otherwise, and always definite: the call is in a finalized block and
//! changed nothing there.

use gw_types::{Outcome, PortError, PortErrorKind};
use subxt::Metadata;
use subxt::dynamic::{At, Value};
use subxt::error::{
    BackendError, EventsError, ExtrinsicError, OnlineClientAtBlockError, OnlineClientError, RpcError,
    StorageError,
};
use subxt::ext::scale_value::ValueDef;
use subxt_rpcs::Error as RpcsError;

/// An error and whether the connection is to blame.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) error: PortError,
    pub(crate) connection_lost: bool,
}

impl From<PortError> for Fault {
    fn from(error: PortError) -> Self {
        Self { error, connection_lost: false }
    }
}

impl Fault {
    /// The chain's data is not what it should be.
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        PortError::definite(PortErrorKind::Corrupt, what).into()
    }

    /// No answer within the time.
    pub(crate) fn slow(what: &str) -> Self {
        let error = PortError::definite(
            PortErrorKind::Unavailable,
            format!("{what}: the node did not answer in time"),
        );
        Self { error, connection_lost: true }
    }

    fn from_rpcs(what: &str, error: &RpcsError) -> Self {
        let message = format!("{what}: {error}");
        match error {
            RpcsError::User(answer) if is_usage_error(answer.code) => {
                PortError::definite(PortErrorKind::Refused, message).into()
            }
            RpcsError::User(_) => PortError::definite(PortErrorKind::Unavailable, message).into(),
            RpcsError::InsecureUrl(_) | RpcsError::Serialization(_) => {
                PortError::definite(PortErrorKind::Refused, message).into()
            }
            RpcsError::Deserialization(_) | RpcsError::Decode(_) => Self::corrupt(message),
            _ => Self {
                error: PortError::definite(PortErrorKind::Unavailable, message),
                connection_lost: true,
            },
        }
    }

    fn from_backend(what: &str, error: &BackendError) -> Self {
        match error {
            BackendError::Rpc(RpcError::ClientError(error)) => Self::from_rpcs(what, error),
            BackendError::Rpc(_) => {
                let error = PortError::definite(PortErrorKind::Unavailable, format!("{what}: {error}"));
                Self { error, connection_lost: true }
            }
            _ => PortError::definite(PortErrorKind::Unavailable, format!("{what}: {error}")).into(),
        }
    }

    pub(crate) fn from_rpc(what: &'static str) -> impl Fn(RpcsError) -> Self {
        move |error| Self::from_rpcs(what, &error)
    }

    pub(crate) fn from_client(error: &OnlineClientError) -> Self {
        const WHAT: &str = "asking the node for its genesis block";
        match error {
            OnlineClientError::CannotGetGenesisHash(error) => Self::from_backend(WHAT, error),
            OnlineClientError::RpcError(error) => Self::from_rpcs(WHAT, error),
            _ => PortError::definite(PortErrorKind::Unavailable, format!("{WHAT}: {error}")).into(),
        }
    }

    pub(crate) fn from_block(error: &OnlineClientAtBlockError) -> Self {
        const WHAT: &str = "reading the finalized head";
        match error {
            OnlineClientAtBlockError::CannotGetCurrentBlock { reason }
            | OnlineClientAtBlockError::CannotGetBlockHash { reason, .. }
            | OnlineClientAtBlockError::CannotGetBlockHeader { reason, .. }
            | OnlineClientAtBlockError::CannotGetSpecVersion { reason, .. } => {
                Self::from_backend(WHAT, reason)
            }
            // The reason is text here: it may be the connection, so it is treated as that.
            OnlineClientAtBlockError::CannotGetMetadata { .. } => Self {
                error: PortError::definite(PortErrorKind::Unavailable, format!("{WHAT}: {error}")),
                connection_lost: true,
            },
            OnlineClientAtBlockError::BlockNotFound { .. }
            | OnlineClientAtBlockError::BlockHeaderNotFound { .. } => {
                PortError::definite(PortErrorKind::Unavailable, format!("{WHAT}: {error}")).into()
            }
            _ => Self::corrupt(format!("{WHAT}: {error}")),
        }
    }

    pub(crate) fn from_storage(what: &str, error: &StorageError) -> Self {
        match error {
            StorageError::CannotFetchValue(error)
            | StorageError::CannotIterateValues(error)
            | StorageError::StreamFailure(error) => Self::from_backend(what, error),
            StorageError::NoValueFound => {
                PortError::definite(PortErrorKind::NotFound, format!("{what}: no value")).into()
            }
            _ => Self::corrupt(format!("{what}: {error}")),
        }
    }

    pub(crate) fn from_events(error: &EventsError) -> Self {
        const WHAT: &str = "reading the events of a block";
        match error {
            EventsError::CannotFetchEventBytes(error) => Self::from_backend(WHAT, error),
            _ => Self::corrupt(format!("{WHAT}: {error}")),
        }
    }

    /// Of asking for a nonce.
    pub(crate) fn from_nonce(error: &ExtrinsicError) -> Self {
        const WHAT: &str = "asking for the account's nonce";
        match error {
            ExtrinsicError::AccountNonceError {
                reason: subxt::error::AccountNonceError::CouldNotRetrieve(error),
                ..
            } => Self::from_backend(WHAT, error),
            _ => Self::corrupt(format!("{WHAT}: {error}")),
        }
    }
}

/// JSON-RPC's own codes for a request that was not understood (JSON-RPC 2.0, section 5.1).
fn is_usage_error(code: i32) -> bool {
    matches!(code, -32700 | -32600 | -32601 | -32602)
}

/// What the node answered when it was given an extrinsic.
#[derive(Debug)]
pub(crate) enum Submission {
    /// The number is too low or too high: ask the chain and try again.
    WrongNonce,
    /// The pool holds another extrinsic with this number.
    NonceTaken,
    /// It is certain that the node does not hold it.
    Refused(PortError),
    /// It may hold it.
    Unknown(PortError),
}

impl Submission {
    /// Reads the error of `author_submitAndWatchExtrinsic` (codes: Substrate
    /// `client/rpc-api/src/author/error.rs`, 1000 + n).
    pub(crate) fn of(call: &str, error: &ExtrinsicError) -> Self {
        match error {
            ExtrinsicError::ErrorSubmittingTransaction(BackendError::Rpc(RpcError::ClientError(
                RpcsError::User(answer),
            ))) => {
                let data = answer.data.as_ref().map(|data| data.get()).unwrap_or_default();
                Self::of_answer(call, answer.code, &format!("{} {data}", answer.message))
            }
            ExtrinsicError::ErrorSubmittingTransaction(error) => Self::Unknown(PortError::unknown(
                PortErrorKind::Unavailable,
                format!("{call}: the connection failed while the call was handed over: {error}"),
            )),
            _ => Self::Refused(PortError::definite(PortErrorKind::Refused, format!("{call}: {error}"))),
        }
    }

    fn of_answer(call: &str, code: i32, text: &str) -> Self {
        let message = format!("{call}: the node answered {code}: {}", text.trim());
        let definite = |kind| Self::Refused(PortError::definite(kind, message.clone()));
        let text = text.to_ascii_lowercase();
        match code {
            1010 if text.contains("outdated") || text.contains("stale") || text.contains("future") => {
                Self::WrongNonce
            }
            1010 if text.contains("pay some fees") || text.contains("payment") => {
                definite(PortErrorKind::Full)
            }
            // Wrong format, not verifiable, invalid for another reason.
            1001 | 1002 | 1010 => definite(PortErrorKind::Refused),
            1014 => Self::NonceTaken,
            // Unknown validity, banned for a while, cycle, pool full, future pool full, not propagable.
            1011 | 1012 | 1015..=1018 => definite(PortErrorKind::Unavailable),
            // 1013: exactly this extrinsic is in the pool already.
            code if is_usage_error(code) => definite(PortErrorKind::Refused),
            _ => Self::Unknown(PortError::unknown(PortErrorKind::Unavailable, message)),
        }
    }
}

/// The fate of a call that was handed over and has not been seen in a finalized block.
pub(crate) fn unknown_fate(call: &str, why: impl std::fmt::Display) -> PortError {
    PortError::unknown(PortErrorKind::Unavailable, format!("{call}: handed to the node, then {why}"))
}

/// A dispatch error, decoded from the event that reports it (`System.ExtrinsicFailed`,
/// `Sudo.Sudid`).
pub(crate) fn dispatch_error(call: &str, error: &Value, metadata: &Metadata) -> PortError {
    let name = dispatch_error_name(error, metadata);
    let kind = if is_full(&name) { PortErrorKind::Full } else { PortErrorKind::Refused };
    PortError::definite(kind, format!("{call}: the chain refused it: {name}"))
}

/// `Pallet.ErrorName` for a pallet's error, `Token.FundsUnavailable` and the like for the others.
fn dispatch_error_name(error: &Value, metadata: &Metadata) -> String {
    let ValueDef::Variant(variant) = &error.value else {
        return error.to_string();
    };
    if variant.name != "Module" {
        let inner = variant.values.values().next().map(|inner| &inner.value);
        return match inner {
            Some(ValueDef::Variant(inner)) => format!("{}.{}", variant.name, inner.name),
            _ => variant.name.clone(),
        };
    }
    let module = variant.values.values().next();
    let number =
        |value: Option<&Value>| value.and_then(Value::as_u128).and_then(|number| u8::try_from(number).ok());
    let pallet = number(module.at("index"));
    // `error` is four bytes, of which the first is the index; it was a plain u8 until 2022.
    let index = number(module.at("error").at(0)).or_else(|| number(module.at("error")));
    let named = pallet.zip(index).and_then(|(pallet, index)| {
        let pallet = metadata.pallet_by_error_index(pallet)?;
        let error = pallet.error_variant_by_index(index)?;
        Some(format!("{}.{}", pallet.name(), error.name))
    });
    named.unwrap_or_else(|| format!("an error its metadata does not name ({error})"))
}

/// Whether the chain says that room or money is missing.
fn is_full(name: &str) -> bool {
    matches!(
        name,
        "StorageHandler.InsufficientAvailableSpace"
            | "StorageHandler.InsufficientStorage"
            | "StorageHandler.InsufficientBalance"
            | "FileBank.InsufficientAvailableSpace"
            | "FileBank.MinerPowerInsufficient"
            | "Sminer.ExceedingDeclarationSpace"
            | "Balances.InsufficientBalance"
            | "Balances.LiquidityRestrictions"
            | "Balances.ExistentialDeposit"
            | "Balances.Expendability"
            | "Token.FundsUnavailable"
            | "Token.NotExpendable"
            | "Token.BelowMinimum"
            | "Token.Frozen"
    )
}

/// Before anything is sent every failure is definite.
pub(crate) fn assert_definite(error: PortError) -> PortError {
    debug_assert_eq!(error.outcome(), Outcome::Definite, "{error}");
    error
}

#[cfg(test)]
mod tests {
    use super::{Submission, is_full};
    use gw_types::PortErrorKind;

    #[test]
    fn a_nonce_that_does_not_fit_is_told_from_a_refusal() {
        let of = |code, text: &str| Submission::of_answer("call", code, text);
        assert!(matches!(
            of(1010, "Invalid Transaction \"Transaction is outdated\""),
            Submission::WrongNonce
        ));
        assert!(matches!(of(1010, "Transaction will be valid in the future"), Submission::WrongNonce));
        assert!(matches!(of(1014, "Priority is too low: (5 vs 5)"), Submission::NonceTaken));
        let Submission::Refused(error) =
            of(1010, "Inability to pay some fees (e.g. account balance too low)")
        else {
            panic!("not refused")
        };
        assert_eq!(error.kind(), PortErrorKind::Full);
        let Submission::Refused(error) = of(1010, "Transaction has a bad signature") else {
            panic!("not refused")
        };
        assert_eq!(error.kind(), PortErrorKind::Refused);
        assert!(matches!(of(1013, "Transaction is already in the pool"), Submission::Unknown(_)));
        assert!(matches!(of(-32603, "Internal error"), Submission::Unknown(_)));
        assert!(matches!(of(-32601, "Method not found"), Submission::Refused(_)));
    }

    #[test]
    fn room_and_money_are_full() {
        assert!(is_full("StorageHandler.InsufficientStorage"));
        assert!(is_full("Token.FundsUnavailable"));
        assert!(!is_full("FileBank.Existed"));
    }
}
