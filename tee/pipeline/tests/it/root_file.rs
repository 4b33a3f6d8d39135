//! The root key's file and its recovery copy.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use gw_tee::{PassphraseCost, Protection, RecoveryTextError, RootKey, RootKeyError};
use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};
use tempfile::TempDir;

/// The cheapest that Argon2 allows: these tests try the format, not the cost.
const CHEAP: PassphraseCost = PassphraseCost { memory_kib: 8, passes: 1, lanes: 1 };

struct Place {
    folder: TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("root.key");
    Place { folder, path }
}

fn same(one: &RootKey, other: &RootKey) -> bool {
    *one.recovery_text() == *other.recovery_text()
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_plain_key_comes_back_from_a_file_only_its_owner_reads() {
    let place = place();
    let root = RootKey::generate().unwrap();
    root.write_new(&place.path, None).unwrap();
    assert_eq!(fs::metadata(&place.path).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(&place.path).unwrap().nlink(), 1);
    assert_eq!(fs::read_dir(place.folder.path()).unwrap().count(), 1, "nothing is left beside it");
    assert_eq!(RootKey::protection(&place.path).unwrap(), Protection::Plain);
    let loaded = RootKey::load(&place.path, None).unwrap();
    assert!(same(&loaded, &root));
    assert_eq!(loaded.fingerprint(), root.fingerprint());
    assert!(matches!(RootKey::load(&place.path, Some("x")), Err(RootKeyError::PassphraseNotNeeded(_))));
}

#[test]
fn a_wrapped_key_comes_back_with_its_passphrase_only() {
    let place = place();
    let root = RootKey::generate().unwrap();
    root.write_new_at_cost(&place.path, Some("correct horse"), CHEAP).unwrap();
    let key = hex::decode(hex_of(&root)).unwrap();
    assert!(!fs::read(&place.path).unwrap().windows(32).any(|window| window == key));
    assert_eq!(RootKey::protection(&place.path).unwrap(), Protection::Passphrase);
    assert!(same(&RootKey::load(&place.path, Some("correct horse")).unwrap(), &root));
    assert!(matches!(
        RootKey::load(&place.path, Some("Correct horse")),
        Err(RootKeyError::WrongPassphrase(_))
    ));
    assert!(matches!(RootKey::load(&place.path, None), Err(RootKeyError::PassphraseNeeded(_))));
    assert!(matches!(RootKey::load(&place.path, Some("")), Err(RootKeyError::EmptyPassphrase)));
}

/// The raw key, by way of a plain file.
fn hex_of(root: &RootKey) -> String {
    let place = place();
    root.write_new(&place.path, None).unwrap();
    hex::encode(&fs::read(&place.path).unwrap()[12..44])
}

#[test]
fn a_key_is_never_written_over() {
    let place = place();
    let first = RootKey::generate().unwrap();
    first.write_new(&place.path, None).unwrap();
    let second = RootKey::generate().unwrap();
    assert!(matches!(second.write_new(&place.path, None), Err(RootKeyError::Exists(_))));
    assert!(same(&RootKey::load(&place.path, None).unwrap(), &first));
    assert_eq!(fs::read_dir(place.folder.path()).unwrap().count(), 1);
}

#[test]
fn a_refused_write_leaves_nothing() {
    let place = place();
    let root = RootKey::generate().unwrap();
    assert!(matches!(root.write_new(&place.path, Some("")), Err(RootKeyError::EmptyPassphrase)));
    let dear = PassphraseCost { memory_kib: (1 << 20) + 1, ..CHEAP };
    assert!(matches!(root.write_new_at_cost(&place.path, Some("x"), dear), Err(RootKeyError::Cost)));
    assert!(matches!(
        root.write_new(&place.folder.path().join("no/such/folder"), None),
        Err(RootKeyError::Io { .. })
    ));
    assert_eq!(fs::read_dir(place.folder.path()).unwrap().count(), 0);
}

#[test]
fn a_file_that_others_may_touch_is_refused() {
    let place = place();
    RootKey::generate().unwrap().write_new(&place.path, None).unwrap();
    for mode in [0o640, 0o604, 0o660, 0o601, 0o644, 0o777] {
        fs::set_permissions(&place.path, Permissions::from_mode(mode)).unwrap();
        let error = RootKey::load(&place.path, None).unwrap_err();
        assert!(matches!(error, RootKeyError::Permissions { mode: found, .. } if found == mode));
        assert!(error.to_string().contains("chmod 600"));
    }
    fs::set_permissions(&place.path, Permissions::from_mode(0o400)).unwrap();
    RootKey::load(&place.path, None).unwrap();
}

#[test]
fn what_is_no_file_is_refused_and_a_link_to_one_is_followed() {
    let place = place();
    assert!(matches!(RootKey::load(&place.path, None), Err(RootKeyError::Missing(_))));
    assert!(matches!(RootKey::load(place.folder.path(), None), Err(RootKeyError::NotAFile(_))));
    let root = RootKey::generate().unwrap();
    root.write_new(&place.path, None).unwrap();
    let link = place.folder.path().join("link");
    symlink(&place.path, &link).unwrap();
    assert!(same(&RootKey::load(&link, None).unwrap(), &root));
}

/// Every bit of both forms, every length: told apart from a wrong passphrase, and never a panic.
#[test]
fn a_damaged_file_is_called_damaged() {
    let place = place();
    let root = RootKey::generate().unwrap();
    let wrapped = place.folder.path().join("wrapped.key");
    root.write_new(&place.path, None).unwrap();
    root.write_new_at_cost(&wrapped, Some("x"), CHEAP).unwrap();
    for path in [&place.path, &wrapped] {
        let good = fs::read(path).unwrap();
        let bent = place.folder.path().join("bent.key");
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            write(&bent, &bytes);
            let error = RootKey::load(&bent, Some("x")).unwrap_err();
            let expected = if bit < 7 * 8 {
                matches!(error, RootKeyError::Format(_))
            } else {
                matches!(error, RootKeyError::Damaged(_))
            };
            assert!(expected, "bit {bit}: {error}");
        }
        for len in 0..good.len() {
            write(&bent, &good[..len]);
            assert!(RootKey::load(&bent, Some("x")).is_err());
        }
    }
    write(&place.path, &vec![0; 1 << 20]);
    assert!(matches!(RootKey::load(&place.path, None), Err(RootKeyError::Format(_))));
}

#[test]
fn a_newer_file_is_called_newer() {
    let place = place();
    let mut bytes = b"CGWROOT2and things to come".to_vec();
    bytes.extend_from_slice(&gw_codec::hash::sha256(&bytes).0);
    write(&place.path, &bytes);
    assert!(matches!(RootKey::load(&place.path, None), Err(RootKeyError::Version(_))));
}

/// A forged file cannot make us spend a terabyte or a year on its passphrase.
#[test]
fn forged_costs_are_refused_before_they_are_paid() {
    let place = place();
    RootKey::generate().unwrap().write_new_at_cost(&place.path, Some("x"), CHEAP).unwrap();
    let good = fs::read(&place.path).unwrap();
    for (at, value) in [(12, u32::MAX), (16, u32::MAX), (20, 65), (12, 0), (16, 0), (20, 0)] {
        let mut bytes = good[..good.len() - 32].to_vec();
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        let checksum = gw_codec::hash::sha256(&bytes);
        bytes.extend_from_slice(&checksum.0);
        write(&place.path, &bytes);
        assert!(matches!(RootKey::load(&place.path, Some("x")), Err(RootKeyError::Cost)), "{at} {value}");
    }
}

/// Files written by this version; later ones must read them. The wrapped one was made with an
/// independent Argon2id and AES-GCM-SIV.
#[test]
fn files_of_this_version_stay_readable() {
    let place = place();
    let root = RootKey::from_recovery_text(include_str!("../data/recovery.txt")).unwrap();
    write(&place.path, &hex::decode(include_str!("../data/root-plain.hex").trim()).unwrap());
    assert!(same(&RootKey::load(&place.path, None).unwrap(), &root));
    write(&place.path, &hex::decode(include_str!("../data/root-passphrase.hex").trim()).unwrap());
    assert!(same(&RootKey::load(&place.path, Some("päss phrase")).unwrap(), &root));
}

#[test]
fn a_recovery_copy_survives_a_persons_hands() {
    let root = RootKey::generate().unwrap();
    let text = root.recovery_text();
    assert_eq!(text.len(), "cgwr1".len() + 14 * 5);
    let lower = text.to_lowercase();
    let spaced = format!("  {}\n", text.replace('-', " \n "));
    let bare = text.replace('-', "");
    let confused = text[5..].replace('0', "o").replace('1', "l");
    for typed in [text.to_string(), lower, spaced, bare, format!("CGWR1{confused}")] {
        assert!(same(&RootKey::from_recovery_text(&typed).unwrap(), &root), "{typed}");
    }
}

#[test]
fn recovery_errors_say_what_is_wrong() {
    let text = RootKey::generate().unwrap().recovery_text();
    let read = |text: &str| RootKey::from_recovery_text(text).unwrap_err();
    assert_eq!(read(""), RecoveryTextError::Prefix);
    assert_eq!(read("ünïcödé"), RecoveryTextError::Prefix);
    assert_eq!(read(&text[6..]), RecoveryTextError::Prefix);
    assert_eq!(read(&text[..text.len() - 1]), RecoveryTextError::Length(55));
    assert_eq!(read(&format!("{}0", *text)), RecoveryTextError::Length(57));
    let mut wrong: Vec<char> = text.chars().collect();
    wrong["cgwr1-0000-00".len()] = 'U';
    assert_eq!(
        read(&wrong.iter().collect::<String>()),
        RecoveryTextError::Character { character: 'U', group: 2 }
    );
    let mut order: Vec<&str> = text.split('-').collect();
    if order[3] != order[4] {
        order.swap(3, 4);
        assert_eq!(read(&order.join("-")), RecoveryTextError::Checksum);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_single_wrong_character_passes(at in 0usize..56, with in 0usize..32) {
        let root = RootKey::from_recovery_text(include_str!("../data/recovery.txt")).unwrap();
        let text = root.recovery_text();
        let place = 6 + at / 4 * 5 + at % 4;
        let with = &"0123456789ABCDEFGHJKMNPQRSTVWXYZ"[with..=with];
        let mut typed = text.to_string();
        typed.replace_range(place..=place, with);
        let read = RootKey::from_recovery_text(&typed);
        prop_assert_eq!(read.is_ok(), typed == *text);
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        assert!(RootKey::from_recovery_text(&text).is_err());
        assert!(RootKey::from_recovery_text(&format!("cgwr1-{text}")).is_err());
    }
}
