//! A client's own key around a body's data key (SSE-C).
//!
//! The body is sealed as always under a random data key. Rows keep that key wrapped by its bucket's
//! key; where a client brought a key, the wrap itself is sealed once more under the client's, as a
//! record (`gw_codec::record`) whose purpose names the key's id. Whoever has the root key and every
//! row, but not the client's key, can open nothing of the body.

use gw_codec::record;
use gw_types::KeyId;
use gw_types::ports::WrappedDataKey;

use crate::{BodyKey, DataMap};

fn purpose(id: KeyId) -> String {
    format!("customer-key/{}", id.0)
}

impl BodyKey {
    /// The same key as rows keep it. The salt must be random and fresh.
    pub fn locked(&self, customer: &[u8; 32], salt: [u8; record::RECORD_SALT_BYTES]) -> Self {
        let sealed = record::seal(customer, &purpose(self.id), salt, &self.wrapped.0);
        Self { id: self.id, wrapped: WrappedDataKey(sealed) }
    }

    /// What [`BodyKey::locked`] was made of; `None` for another customer's key.
    pub fn unlocked(&self, customer: &[u8; 32]) -> Option<Self> {
        let wrapped = record::open(customer, &purpose(self.id), &self.wrapped.0).ok()?;
        Some(Self { id: self.id, wrapped: WrappedDataKey(wrapped) })
    }
}

impl DataMap {
    /// The map with all its keys unlocked; `None` when one does not open under this key.
    pub fn unlocked(&self, customer: &[u8; 32]) -> Option<Self> {
        let keys = self.keys.iter().map(|(id, wrapped)| {
            let key = BodyKey { id: *id, wrapped: wrapped.clone() }.unlocked(customer)?;
            Some((key.id, key.wrapped))
        });
        Some(Self { len: self.len, keys: keys.collect::<Option<_>>()?, body: self.body.clone() })
    }
}

#[cfg(test)]
mod tests {
    use gw_types::KeyId;
    use gw_types::ports::WrappedDataKey;

    use crate::{BodyKey, DataMap, MapBody};

    #[test]
    fn a_locked_key_opens_under_the_customers_key_and_its_own_id_alone() {
        let plain = BodyKey { id: KeyId(7), wrapped: WrappedDataKey(vec![1; 94]) };
        let locked = plain.locked(&[9; 32], [3; 32]);
        assert_ne!(locked.wrapped, plain.wrapped);
        assert_eq!(locked.unlocked(&[9; 32]), Some(plain.clone()));
        assert_eq!(locked.unlocked(&[8; 32]), None);
        assert_eq!(BodyKey { id: KeyId(8), ..locked.clone() }.unlocked(&[9; 32]), None);
        let map = |key: &BodyKey| DataMap {
            len: 1,
            keys: vec![(key.id, key.wrapped.clone())],
            body: MapBody::Entries(Vec::new()),
        };
        assert_eq!(map(&locked).unlocked(&[9; 32]), Some(map(&plain)));
        assert_eq!(map(&locked).unlocked(&[8; 32]), None);
        assert_eq!(map(&plain).unlocked(&[9; 32]), None);
    }
}
