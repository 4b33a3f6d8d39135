//! Listings against a model that is obviously right: a sorted map, filtered line by line.

use std::collections::{BTreeMap, BTreeSet};

use gw_sim::Rng;
use gw_store::{
    ListPage, ListRequest, ListStart, Store, UploadId, UploadListRequest, UploadOptions, VersionListRequest,
};
use gw_types::Authenticated;

use crate::assemble::Machine;
use crate::support::{Here, key};

/// Small words, so that keys collide, nest and end in every way.
const PIECES: [&str; 14] = ["a", "b", "/", "/", "/", "-", "é", "\0", "!", "~", "日本", "0", "ab", "a/"];
const DELIMITERS: [&str; 8] = ["/", "/", "-", "//", "/a", "a", "é", "日本"];

fn random_key(rng: &mut Rng) -> String {
    let pieces = 1 + rng.below(6);
    (0..pieces).map(|_| PIECES[rng.below(PIECES.len() as u64) as usize]).collect()
}

/// A text near the keys: one of them, cut, or anything.
pub fn random_text(rng: &mut Rng, keys: &BTreeSet<String>) -> String {
    let Some(chosen) = keys.iter().nth(rng.below(keys.len() as u64) as usize) else { return random_key(rng) };
    match rng.below(4) {
        0 => random_key(rng),
        1 => chosen.clone(),
        _ => {
            let letters: Vec<char> = chosen.chars().collect();
            letters[..rng.below(letters.len() as u64 + 1) as usize].iter().collect()
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Key(String),
    Prefix(String),
}

pub fn common(prefix: &str, delimiter: Option<&str>, key: &str) -> Option<String> {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty())?;
    let at = key.strip_prefix(prefix)?.find(delimiter)?;
    Some(key[..prefix.len() + at + delimiter.len()].to_owned())
}

/// Every line of a listing, without pages.
pub fn model(keys: &BTreeSet<String>, prefix: &str, delimiter: Option<&str>, start: &ListStart) -> Vec<Line> {
    let mut lines = Vec::new();
    for key in keys.iter().filter(|key| key.starts_with(prefix)) {
        let common = common(prefix, delimiter, key);
        let hidden = match start {
            ListStart::Beginning => false,
            ListStart::After(text) => key.as_bytes() <= text.as_bytes(),
            ListStart::Marker(text) => {
                key.as_bytes() <= text.as_bytes()
                    || common.as_ref().is_some_and(|common| text.starts_with(common.as_str()))
            }
        };
        if hidden {
            continue;
        }
        let line = common.map_or_else(|| Line::Key(key.clone()), Line::Prefix);
        if lines.last() != Some(&line) {
            lines.push(line);
        }
    }
    lines
}

fn merged(page: &ListPage) -> Vec<Line> {
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    for entry in &page.entries {
        lines.insert(entry.key.clone(), Line::Key(entry.key.clone()));
    }
    for prefix in &page.common_prefixes {
        lines.insert(prefix.clone(), Line::Prefix(prefix.clone()));
    }
    assert!(page.entries.windows(2).all(|pair| pair[0].key < pair[1].key));
    assert!(page.common_prefixes.windows(2).all(|pair| pair[0] < pair[1]));
    lines.into_values().collect()
}

/// Pages to the end, sometimes through the token's text form.
pub async fn list_all(
    store: &Store,
    who: &Authenticated,
    mut request: ListRequest,
    through_token: bool,
) -> Vec<Line> {
    let mut lines = Vec::new();
    for _ in 0..10_000 {
        let page = store.list(who, request.clone()).await.unwrap();
        let more = merged(&page);
        assert!(more.len() <= request.max);
        lines.extend(more);
        match page.next {
            None => return lines,
            Some(next) if through_token => request.start = ListStart::from_token(&next.to_token()).unwrap(),
            Some(next) => request.start = next,
        }
        assert_eq!(
            page.entries.len() + page.common_prefixes.len(),
            request.max,
            "a short page says it is the last"
        );
    }
    panic!("the listing does not end");
}

#[tokio::test]
async fn every_listing_is_complete_in_order_and_without_repetition() {
    let store = Machine::new().open().await;
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let here = Here::new(store.clone(), &format!("listing-{seed}")).await;
        let mut keys = BTreeSet::new();
        for _ in 0..rng.below(60) {
            let key = random_key(&mut rng);
            here.put(&key, b"").await;
            keys.insert(key);
        }
        for key in keys.clone() {
            if rng.one_in(4) {
                here.delete(&key).await;
                keys.remove(&key);
            }
        }
        for case in 0..100 {
            let prefix = if rng.one_in(3) { String::new() } else { random_text(&mut rng, &keys) };
            let delimiter =
                (!rng.one_in(4)).then(|| DELIMITERS[rng.below(DELIMITERS.len() as u64) as usize].to_owned());
            let start = match rng.below(4) {
                0 => ListStart::After(random_text(&mut rng, &keys)),
                1 => ListStart::Marker(random_text(&mut rng, &keys)),
                _ => ListStart::Beginning,
            };
            let max = [1, 2, 3, 7, 1000][rng.below(5) as usize];
            let wanted = model(&keys, &prefix, delimiter.as_deref(), &start);
            let request =
                ListRequest { bucket: here.bucket.clone(), prefix, delimiter, start: start.clone(), max };
            let found = list_all(&here.store, &here.who, request.clone(), rng.one_in(2)).await;
            assert_eq!(found, wanted, "seed {seed} case {case}: {request:?} of {keys:?}");
        }
    }
}

#[tokio::test]
async fn pages_have_their_maximum_and_zero_is_a_page_too() {
    let here = Here::new(Machine::new().open().await, "bucket").await;
    for number in 0..1005 {
        here.put(&format!("k{number:04}"), b"").await;
    }
    let list = |max| here.store.list(&here.who, ListRequest { max, ..ListRequest::new(here.bucket.clone()) });
    assert_eq!(list(0).await.unwrap(), ListPage::default());
    let page = list(usize::MAX).await.unwrap();
    assert_eq!((page.entries.len(), page.next), (1000, Some(ListStart::Marker("k0999".to_owned()))));
}

#[tokio::test]
async fn directories_that_show_nothing_are_not_shown() {
    let here = Here::versioned(Machine::new().open().await, "bucket").await;
    for at in ["gone/deep/er/k", "half/gone", "half/here", "marker"] {
        here.put(at, b"1").await;
    }
    for at in ["gone/deep/er/k", "half/gone", "marker"] {
        here.delete(at).await;
    }
    let request = |prefix: &str| ListRequest {
        prefix: prefix.to_owned(),
        delimiter: Some("/".to_owned()),
        ..ListRequest::new(here.bucket.clone())
    };
    let top = here.store.list(&here.who, request("")).await.unwrap();
    assert_eq!((top.entries.len(), top.common_prefixes), (0, vec!["half/".to_owned()]));
    let half = here.store.list(&here.who, request("half/")).await.unwrap();
    assert_eq!(half.entries.len(), 1);
    let versions = VersionListRequest {
        delimiter: Some("/".to_owned()),
        ..VersionListRequest::new(here.bucket.clone())
    };
    let page = here.store.list_versions(&here.who, versions).await.unwrap();
    assert_eq!(page.common_prefixes, ["gone/", "half/"]);
    assert_eq!(page.entries.len(), 2);
}

async fn uploads_paged(here: &Here, request: &UploadListRequest) -> Vec<(Line, Option<UploadId>)> {
    let mut request = request.clone();
    let mut lines = Vec::new();
    for _ in 0..1000 {
        let page = here.store.upload_list(&here.who, request.clone()).await.unwrap();
        let mut more: Vec<(Line, Option<UploadId>)> = page
            .entries
            .iter()
            .map(|entry| (Line::Key(entry.key.to_string()), Some(entry.upload.upload_id)))
            .chain(page.common_prefixes.iter().map(|prefix| (Line::Prefix(prefix.clone()), None)))
            .collect();
        more.sort_by_key(|(line, upload)| match line {
            Line::Key(text) | Line::Prefix(text) => (text.clone(), *upload),
        });
        lines.extend(more);
        let Some((key_marker, upload_marker)) = page.next else { return lines };
        request.key_marker = Some(key_marker);
        request.upload_marker = upload_marker;
    }
    panic!("the listing does not end");
}

#[tokio::test]
async fn uploads_are_listed_by_key_and_age() {
    let store = Machine::new().open().await;
    for seed in 0..10 {
        let mut rng = Rng::new(1000 + seed);
        let here = Here::new(store.clone(), &format!("uploads-{seed}")).await;
        let mut uploads: BTreeSet<(String, UploadId)> = BTreeSet::new();
        for _ in 0..rng.below(30) {
            let at = random_key(&mut rng);
            let upload =
                here.store.upload_create(&here.who, &here.bucket, &key(&at), UploadOptions::default()).await;
            uploads.insert((at, upload.unwrap().upload_id));
        }
        let keys: BTreeSet<String> = uploads.iter().map(|(key, _)| key.clone()).collect();
        for _ in 0..40 {
            let prefix = if rng.one_in(2) { String::new() } else { random_text(&mut rng, &keys) };
            let delimiter =
                rng.one_in(2).then(|| DELIMITERS[rng.below(DELIMITERS.len() as u64) as usize].to_owned());
            let mut wanted: Vec<(Line, Option<UploadId>)> = Vec::new();
            for (key, upload) in uploads.iter().filter(|(key, _)| key.starts_with(&prefix)) {
                let line = match common(&prefix, delimiter.as_deref(), key) {
                    Some(common) => (Line::Prefix(common), None),
                    None => (Line::Key(key.clone()), Some(*upload)),
                };
                if wanted.last() != Some(&line) {
                    wanted.push(line);
                }
            }
            let request = UploadListRequest {
                prefix,
                delimiter,
                max: 1 + rng.below(4) as usize,
                ..UploadListRequest::new(here.bucket.clone())
            };
            assert_eq!(uploads_paged(&here, &request).await, wanted, "seed {seed}: {request:?}");
        }
    }
}
