//! The name of a deal's file on chain: the little that a restore must know before it can open
//! anything. The chain shows it to everyone, so it says only which deals carry the log.
//!
//! `cgw1.<epoch>.<log parts>.<segments>`; log parts are the last segments of the deal. The epoch is
//! that of the gateway which made the deal: a restored gateway begins above all of them, also above
//! those whose log it could not read. 3 to 63 bytes, as the chain wants (pallet file-bank
//! `NameMinLength`, `NameStrLimit`).

/// What a deal's file name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DealName {
    /// Epoch of the gateway that made it.
    pub epoch: u16,
    /// How many of its last segments are log parts.
    pub parts: usize,
    /// All its segments.
    pub segments: usize,
}

const MARK: &str = "cgw1";

impl DealName {
    /// The text for the chain.
    pub fn encode(self) -> String {
        format!("{MARK}.{}.{}.{}", self.epoch, self.parts, self.segments)
    }
    /// `None` for a file that is not one of our deals.
    pub fn decode(text: &str) -> Option<Self> {
        let mut fields = text.split('.');
        if fields.next() != Some(MARK) {
            return None;
        }
        let epoch = fields.next()?.parse().ok()?;
        let parts = fields.next()?.parse().ok()?;
        let segments = fields.next()?.parse().ok()?;
        (fields.next().is_none() && parts <= segments).then_some(Self { epoch, parts, segments })
    }
}

#[cfg(test)]
mod tests {
    use super::DealName;

    #[test]
    fn names_come_back_and_strangers_do_not() {
        let name = DealName { epoch: u16::MAX, parts: 3, segments: 1000 };
        assert_eq!(name.encode(), "cgw1.65535.3.1000");
        assert!((3..=63).contains(&name.encode().len()));
        assert_eq!(DealName::decode(&name.encode()), Some(name));
        for stranger in ["", "hello.txt", "cgw1", "cgw1.1.2", "cgw1.0.5.4", "cgw1.0.0.1.x", "cgw2.0.0.1"] {
            assert_eq!(DealName::decode(stranger), None, "{stranger}");
        }
    }
}
