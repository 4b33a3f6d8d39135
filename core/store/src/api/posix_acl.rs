//! POSIX access lists, as `acl(5)` and Linux have them: pure.
//!
//! A list is kept as the extended attribute `system.posix_acl_access` or `_default`, in the form that the
//! kernel exchanges (`include/uapi/linux/posix_acl_xattr.h`), all numbers little-endian:
//!
//! ```text
//!   u32 version (2), then for each entry: u16 tag, u16 permissions, u32 id (2^32-1 where it has none)
//! ```
//!
//! The kernel enforces it. What it leaves to a file system is here: the mode and the access list say the
//! same of owner, mask and others, whichever of them is changed; and what is made in a directory with a
//! default list begins with that, cut down by the mode it is made with, whatever the umask.

/// The list that is enforced.
pub const ACCESS: &[u8] = b"system.posix_acl_access";
/// The list that a directory hands on.
pub const DEFAULT: &[u8] = b"system.posix_acl_default";

const VERSION: u32 = 2;
const HEADER_LEN: usize = 4;
const ENTRY_LEN: usize = 8;
const ID_NONE: u32 = u32::MAX;
const TRIPLE: u32 = 0o7;

/// Whose an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    Owner,
    User(u32),
    OwningGroup,
    Group(u32),
    Mask,
    Others,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tag: Tag,
    /// Read 4, write 2, execute 1.
    permissions: u32,
}

/// A well-formed access list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PosixAcl(Vec<Entry>);

/// An attribute that is no access list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadAcl;

impl PosixAcl {
    /// Reads an attribute's value. Entries stand in the order of `acl(5)`, with a mask where users or
    /// groups are named.
    pub fn parse(value: &[u8]) -> Result<Self, BadAcl> {
        let (header, rest) = value.split_at_checked(HEADER_LEN).ok_or(BadAcl)?;
        let version = header.try_into().map(u32::from_le_bytes).map_err(|_| BadAcl)?;
        if version != VERSION || !rest.len().is_multiple_of(ENTRY_LEN) {
            return Err(BadAcl);
        }
        let entries = rest.chunks_exact(ENTRY_LEN).map(Entry::parse).collect::<Result<Vec<_>, _>>()?;
        let acl = Self(entries);
        if acl.is_well_formed() { Ok(acl) } else { Err(BadAcl) }
    }

    /// The attribute's value.
    pub fn value(&self) -> Vec<u8> {
        let mut value = VERSION.to_le_bytes().to_vec();
        for entry in &self.0 {
            let (tag, id) = match entry.tag {
                Tag::Owner => (0x01u16, ID_NONE),
                Tag::User(id) => (0x02, id),
                Tag::OwningGroup => (0x04, ID_NONE),
                Tag::Group(id) => (0x08, id),
                Tag::Mask => (0x10, ID_NONE),
                Tag::Others => (0x20, ID_NONE),
            };
            value.extend_from_slice(&tag.to_le_bytes());
            value.extend_from_slice(&(entry.permissions as u16).to_le_bytes());
            value.extend_from_slice(&id.to_le_bytes());
        }
        value
    }

    fn is_well_formed(&self) -> bool {
        let rank = |entry: &Entry| match entry.tag {
            Tag::Owner => 0,
            Tag::User(_) => 1,
            Tag::OwningGroup => 2,
            Tag::Group(_) => 3,
            Tag::Mask => 4,
            Tag::Others => 5,
        };
        let count = |wanted: u32| self.0.iter().filter(|entry| rank(entry) == wanted).count();
        let names = count(1) + count(3);
        self.0.is_sorted_by_key(rank)
            && [0, 2, 5].into_iter().all(|needed| count(needed) == 1)
            && (count(4) == 1 || count(4) == 0 && names == 0)
    }

    /// Whether it says no more than a mode can.
    pub fn is_mode(&self) -> bool {
        self.0.len() == 3
    }

    /// The mode's lower nine bits that go with it: the group's are the mask where there is one.
    pub fn mode(&self) -> u32 {
        self.0.iter().fold(0, |mode, entry| match entry.tag {
            Tag::Owner => mode | entry.permissions << 6,
            Tag::OwningGroup if self.is_mode() => mode | entry.permissions << 3,
            Tag::Mask => mode | entry.permissions << 3,
            Tag::Others => mode | entry.permissions,
            _ => mode,
        })
    }

    /// What `chmod` does to it.
    #[must_use]
    pub fn with_mode(mut self, mode: u32) -> Self {
        let class = self.group_class();
        for entry in &mut self.0 {
            match entry.tag {
                Tag::Owner => entry.permissions = mode >> 6 & TRIPLE,
                Tag::Others => entry.permissions = mode & TRIPLE,
                tag if tag == class => entry.permissions = mode >> 3 & TRIPLE,
                _ => {}
            }
        }
        self
    }

    /// As a directory's default list: the access list of something that is made in it with this mode.
    #[must_use]
    pub fn handed_down(mut self, mode: u32) -> Self {
        let class = self.group_class();
        for entry in &mut self.0 {
            match entry.tag {
                Tag::Owner => entry.permissions &= mode >> 6,
                Tag::Others => entry.permissions &= mode,
                tag if tag == class => entry.permissions &= mode >> 3,
                _ => {}
            }
        }
        self
    }

    /// The entry that the group's bits of a mode stand for.
    fn group_class(&self) -> Tag {
        let masked = self.0.iter().any(|entry| entry.tag == Tag::Mask);
        if masked { Tag::Mask } else { Tag::OwningGroup }
    }

    /// The same with other numbers for users and groups; `None` where one of them has none.
    pub fn map_ids(
        mut self,
        user: impl Fn(u32) -> Option<u32>,
        group: impl Fn(u32) -> Option<u32>,
    ) -> Option<Self> {
        for entry in &mut self.0 {
            match &mut entry.tag {
                Tag::User(id) => *id = user(*id)?,
                Tag::Group(id) => *id = group(*id)?,
                _ => {}
            }
        }
        Some(self)
    }
}

impl Entry {
    fn parse(bytes: &[u8]) -> Result<Self, BadAcl> {
        let &[tag, tag_high, permissions, permissions_high, a, b, c, d] = bytes else { return Err(BadAcl) };
        let id = u32::from_le_bytes([a, b, c, d]);
        let tag = match u16::from_le_bytes([tag, tag_high]) {
            0x01 => Tag::Owner,
            0x02 if id != ID_NONE => Tag::User(id),
            0x04 => Tag::OwningGroup,
            0x08 if id != ID_NONE => Tag::Group(id),
            0x10 => Tag::Mask,
            0x20 => Tag::Others,
            _ => return Err(BadAcl),
        };
        let permissions = u32::from(u16::from_le_bytes([permissions, permissions_high]));
        if permissions > TRIPLE { Err(BadAcl) } else { Ok(Self { tag, permissions }) }
    }
}

/// Extended attributes: names and values.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// What something new begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// The lower twelve bits of its mode.
    pub mode: u32,
    /// Its lists, as attributes.
    pub lists: Xattrs,
}

impl Fresh {
    /// Made with `mode` by somebody with `umask`, in a directory with this default list (a value of
    /// [`DEFAULT`], `None` where there is none).
    pub fn new(default: Option<&[u8]>, mode: u32, umask: u32, is_directory: bool) -> Self {
        // What is stored was well-formed when it was set.
        let Some(list) = default.and_then(|value| PosixAcl::parse(value).ok()) else {
            return Self { mode: mode & !(umask & 0o777), lists: Vec::new() };
        };
        let mut lists = Vec::new();
        let handed_on = is_directory.then(|| (DEFAULT.to_vec(), list.value()));
        let access = list.handed_down(mode);
        let mode = mode & !0o777 | access.mode();
        if !access.is_mode() {
            lists.push((ACCESS.to_vec(), access.value()));
        }
        lists.extend(handed_on);
        Self { mode, lists }
    }
}

#[cfg(test)]
mod tests {
    use super::{ACCESS, BadAcl, DEFAULT, Fresh, PosixAcl};

    /// The value of entries (tag, permissions, id).
    fn value(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut value = vec![2, 0, 0, 0];
        for (tag, permissions, id) in entries {
            value.extend_from_slice(&tag.to_le_bytes());
            value.extend_from_slice(&permissions.to_le_bytes());
            value.extend_from_slice(&id.to_le_bytes());
        }
        value
    }

    const NONE: u32 = u32::MAX;
    const LONG: &[(u16, u16, u32)] =
        &[(1, 7, NONE), (2, 6, 1000), (4, 5, NONE), (8, 7, 100), (0x10, 6, NONE), (0x20, 1, NONE)];

    #[test]
    fn a_list_comes_back_as_it_was_and_its_mode_has_the_mask() {
        let acl = PosixAcl::parse(&value(LONG)).unwrap();
        assert_eq!(acl.value(), value(LONG));
        assert_eq!((acl.mode(), acl.is_mode()), (0o761, false));
        let short = PosixAcl::parse(&value(&[(1, 6, NONE), (4, 4, NONE), (0x20, 0, NONE)])).unwrap();
        assert_eq!((short.mode(), short.is_mode()), (0o640, true));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let bad = |entries: &[(u16, u16, u32)]| assert_eq!(PosixAcl::parse(&value(entries)), Err(BadAcl));
        bad(&[]);
        bad(&[(1, 7, NONE), (4, 7, NONE)]);
        bad(&[(1, 7, NONE), (2, 7, 5), (4, 7, NONE), (0x20, 7, NONE)]);
        bad(&[(4, 7, NONE), (1, 7, NONE), (0x20, 7, NONE)]);
        bad(&[(1, 8, NONE), (4, 7, NONE), (0x20, 7, NONE)]);
        bad(&[(1, 7, NONE), (1, 7, NONE), (4, 7, NONE), (0x20, 7, NONE)]);
        bad(&[(1, 7, NONE), (2, 7, NONE), (4, 7, NONE), (0x10, 7, NONE), (0x20, 7, NONE)]);
        for cut in 0..value(LONG).len() {
            assert_eq!(PosixAcl::parse(&value(LONG)[..cut]), Err(BadAcl), "{cut}");
        }
    }

    #[test]
    fn chmod_sets_the_mask_and_leaves_named_entries() {
        let acl = PosixAcl::parse(&value(LONG)).unwrap().with_mode(0o640);
        let after = [(1, 6, NONE), (2, 6, 1000), (4, 5, NONE), (8, 7, 100), (0x10, 4, NONE), (0x20, 0, NONE)];
        assert_eq!(acl.value(), value(&after));
    }

    #[test]
    fn a_default_list_takes_the_place_of_the_umask() {
        let default = value(LONG);
        let file = Fresh::new(Some(&default), 0o2644, 0o077, false);
        let access =
            [(1, 6, NONE), (2, 6, 1000), (4, 5, NONE), (8, 7, 100), (0x10, 4, NONE), (0x20, 0, NONE)];
        assert_eq!(file, Fresh { mode: 0o2640, lists: vec![(ACCESS.to_vec(), value(&access))] });
        let directory = Fresh::new(Some(&default), 0o777, 0o077, true);
        assert_eq!(directory.mode, 0o761);
        assert_eq!(directory.lists, [(ACCESS.to_vec(), default.clone()), (DEFAULT.to_vec(), default)]);
        assert_eq!(Fresh::new(None, 0o4666, 0o022, false), Fresh { mode: 0o4644, lists: Vec::new() });
    }

    #[test]
    fn a_default_list_without_names_is_a_mode() {
        let default = value(&[(1, 7, NONE), (4, 5, NONE), (0x20, 0, NONE)]);
        assert_eq!(Fresh::new(Some(&default), 0o666, 0, false), Fresh { mode: 0o640, lists: Vec::new() });
    }
}
