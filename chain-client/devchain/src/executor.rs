//! Runs the runtime on a stored state.
//!
//! A call sets up the state's trie behind FRAME's externalities, runs `api::dispatch` on this thread and throws
//! the changes away; [`BlockRun`] keeps them, call after call, until a block is finished. The externalities are
//! thread-local, so nothing here may be awaited; callers use a blocking thread. A panic of the runtime (mostly:
//! arguments that do not decode) ends in an error, not in the process.

use crate::{
    error::ExecutionError,
    runtime::{Header, RuntimeCall, UncheckedExtrinsic, dispatch},
    store::{BlockRecord, Store},
};
use codec::{Decode, Encode};
use sp_core::{Blake2Hasher, H256, storage::StateVersion};
use sp_runtime::{
    ApplyExtrinsicResult,
    transaction_validity::{InvalidTransaction, TransactionValidityError},
};
use sp_state_machine::{Ext, OverlayedChanges, TrieBackend, TrieBackendBuilder};
use sp_trie::{LayoutV1, PrefixedMemoryDB, empty_trie_root};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How state values are laid out in the trie; `system_version` 1 of the runtime says the same.
const STATE_VERSION: StateVersion = StateVersion::V1;

type Backend<'a> = TrieBackend<&'a Store, Blake2Hasher>;

/// The state with this root.
pub(crate) fn state(store: &Store, root: H256) -> Backend<'_> {
    TrieBackendBuilder::new(store, root).build()
}

/// Runs a runtime function on a state and forgets its changes.
pub(crate) fn call(store: &Store, root: H256, method: &str, data: &[u8]) -> Result<Vec<u8>, ExecutionError> {
    run(&state(store, root), &mut OverlayedChanges::default(), method, data)
}

/// As [`call`], and decodes the result.
pub(crate) fn call_as<R: Decode>(
    store: &Store,
    root: H256,
    method: &'static str,
    data: &[u8],
) -> Result<R, ExecutionError> {
    decode(method, &call(store, root, method, data)?)
}

fn decode<R: Decode>(method: &'static str, bytes: &[u8]) -> Result<R, ExecutionError> {
    R::decode(&mut &bytes[..]).map_err(|source| ExecutionError::Decode { method, source })
}

fn run(
    backend: &Backend<'_>,
    overlay: &mut OverlayedChanges<Blake2Hasher>,
    method: &str,
    data: &[u8],
) -> Result<Vec<u8>, ExecutionError> {
    let depth = overlay.transaction_depth();
    let outcome = {
        let mut ext = Ext::new(overlay, backend, None);
        catch_unwind(AssertUnwindSafe(|| {
            sp_externalities::set_and_run_with_externalities(&mut ext, || dispatch(method, data))
        }))
    };
    if outcome.is_err() {
        // A panic leaves the storage layers open that it happened in.
        while overlay.transaction_depth() > depth {
            overlay.rollback_transaction().expect("the depth says that a transaction is open");
        }
    }
    match outcome {
        Ok(Some(result)) => Ok(result),
        Ok(None) => Err(ExecutionError::NoMethod(method.to_owned())),
        Err(_) => Err(ExecutionError::Panicked(method.to_owned())),
    }
}

/// What became of a transaction that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It is in the block, whether its call succeeded or not.
    Included,
    /// The block has no room for it.
    Full,
    /// An earlier transaction of its sender is missing.
    Early,
    /// It can never be included.
    Invalid(String),
}

/// A block in the making.
pub(crate) struct BlockRun<'a> {
    backend: Backend<'a>,
    overlay: OverlayedChanges<Blake2Hasher>,
    body: Vec<Vec<u8>>,
}

impl<'a> BlockRun<'a> {
    /// Starts the block after `parent` and puts the timestamp into it. `now_ms` must not be before the parent's.
    pub(crate) fn start(store: &'a Store, parent: &Header, now_ms: u64) -> Result<Self, ExecutionError> {
        let mut this = Self {
            backend: state(store, parent.state_root),
            overlay: OverlayedChanges::default(),
            body: Vec::new(),
        };
        let zero = H256::zero();
        let header = Header {
            parent_hash: parent.hash(),
            number: parent.number + 1,
            state_root: zero,
            extrinsics_root: zero,
            digest: Default::default(),
        };
        this.run("Core_initialize_block", &header.encode())?;
        let call = RuntimeCall::Timestamp(pallet_timestamp::Call::set { now: now_ms });
        match this.apply(&UncheckedExtrinsic::new_bare(call).encode())? {
            Applied::Included => Ok(this),
            other => Err(ExecutionError::Refused(format!("timestamp {now_ms}: {other:?}"))),
        }
    }

    fn run(&mut self, method: &str, data: &[u8]) -> Result<Vec<u8>, ExecutionError> {
        run(&self.backend, &mut self.overlay, method, data)
    }

    /// Tries a transaction, encoded with its length.
    pub(crate) fn apply(&mut self, extrinsic: &[u8]) -> Result<Applied, ExecutionError> {
        const METHOD: &str = "BlockBuilder_apply_extrinsic";
        self.overlay.start_transaction();
        let outcome =
            self.run(METHOD, extrinsic).and_then(|bytes| decode::<ApplyExtrinsicResult>(METHOD, &bytes));
        let applied = match &outcome {
            Ok(Ok(_)) => Applied::Included,
            Ok(Err(TransactionValidityError::Invalid(InvalidTransaction::ExhaustsResources))) => {
                Applied::Full
            }
            Ok(Err(TransactionValidityError::Invalid(InvalidTransaction::Future))) => Applied::Early,
            Ok(Err(other)) => Applied::Invalid(reason(other)),
            Err(error) => Applied::Invalid(error.to_string()),
        };
        let closed = if applied == Applied::Included {
            self.body.push(extrinsic.to_vec());
            self.overlay.commit_transaction()
        } else {
            self.overlay.rollback_transaction()
        };
        closed.map_err(|_| ExecutionError::Refused("a storage layer went missing".to_owned()))?;
        Ok(applied)
    }

    /// Transactions so far, with the timestamp.
    pub(crate) fn len(&self) -> usize {
        self.body.len()
    }

    /// Finishes the block.
    pub(crate) fn finish(mut self) -> Result<BlockRecord, ExecutionError> {
        const METHOD: &str = "BlockBuilder_finalize_block";
        let header: Header = decode(METHOD, &self.run(METHOD, &[])?)?;
        let changes = self
            .overlay
            .drain_storage_changes(&self.backend, STATE_VERSION)
            .map_err(|error| ExecutionError::Refused(error.to_string()))?;
        if changes.transaction_storage_root != header.state_root {
            return Err(ExecutionError::Root {
                computed: changes.transaction_storage_root,
                claimed: header.state_root,
            });
        }
        Ok(BlockRecord { header, body: self.body, changes: changes.transaction })
    }
}

/// Why a transaction is not valid, in words.
pub(crate) fn reason(error: &TransactionValidityError) -> String {
    <&'static str>::from(*error).to_owned()
}

/// The first block, from the storage that a genesis asks for.
pub(crate) fn genesis_block(store: &Store, storage: &sp_core::storage::Storage) -> BlockRecord {
    use sp_state_machine::Backend as _;
    assert!(storage.children_default.is_empty(), "no pallet of ours uses child tries");
    let empty = empty_trie_root::<LayoutV1<Blake2Hasher>>();
    let top = storage.top.iter().map(|(key, value)| (key.as_slice(), Some(value.as_slice())));
    let children =
        std::iter::empty::<(&sp_core::storage::ChildInfo, std::iter::Empty<(&[u8], Option<&[u8]>)>)>();
    let (root, changes): (H256, PrefixedMemoryDB<Blake2Hasher>) =
        state(store, empty).full_storage_root(top, children, STATE_VERSION);
    let header = Header {
        parent_hash: H256::zero(),
        number: 0,
        state_root: root,
        extrinsics_root: empty,
        digest: Default::default(),
    };
    BlockRecord { header, body: Vec::new(), changes }
}
