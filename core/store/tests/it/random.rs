//! Random operations against a model that is obviously right: for each key, its versions in a list.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use gw_sim::Rng;
use gw_store::{
    ByteRange, CompleteOptions, CompletePart, CopyOptions, CopySource, DeleteTarget, Etag, EtagMatch,
    FinishOptions, ListRequest, ListStart, PartNumber, PutOutcome, ReadConditions, StoreErrorKind,
    StoreResult, UploadOptions, Usage, VersionId, VersionListRequest, Versioning, WriteConditions,
};

use crate::assemble::Machine;
use crate::listing::{Line, common, list_all};
use crate::support::{Here, key, kind, name};

const KEYS: [&str; 12] = ["a", "a/", "a/b", "a//b", "a/b/c", "a\0", "a!", "ab", "b/x", "b/é", "/", "z/z/z/z"];

#[derive(Clone, Debug)]
struct Version {
    id: VersionId,
    /// `None`: a delete marker.
    object: Option<(Vec<u8>, Etag)>,
}

/// One bucket: versions of each key, newest first.
#[derive(Clone, Debug, Default)]
struct Model {
    versioning: Versioning,
    keys: BTreeMap<String, Vec<Version>>,
}

impl Model {
    fn current(&self, key: &str) -> Option<&(Vec<u8>, Etag)> {
        self.keys.get(key)?.first()?.object.as_ref()
    }

    fn check(&self, key: &str, conditions: &WriteConditions) -> Option<StoreErrorKind> {
        let current = self.current(key).map(|(_, etag)| etag);
        match (&conditions.if_match, current) {
            (Some(_), None) => return Some(StoreErrorKind::NoSuchKey),
            (Some(tags), Some(etag)) if !tags.fits(etag) => return Some(StoreErrorKind::PreconditionFailed),
            _ => {}
        }
        match (&conditions.if_none_match, current) {
            (Some(tags), Some(etag)) if tags.fits(etag) => Some(StoreErrorKind::PreconditionFailed),
            _ => None,
        }
    }

    fn put(&mut self, key: &str, body: Vec<u8>, outcome: &PutOutcome) {
        assert_eq!(outcome.version_id.is_some(), self.versioning != Versioning::Off);
        let id = outcome.version_id.unwrap_or(VersionId::Null);
        assert_eq!(id == VersionId::Null, self.versioning != Versioning::Enabled);
        self.push(key, Version { id, object: Some((body, outcome.etag)) });
    }

    fn push(&mut self, key: &str, version: Version) {
        let versions = self.keys.entry(key.to_owned()).or_default();
        if version.id == VersionId::Null {
            versions.retain(|old| old.id != VersionId::Null);
        }
        versions.insert(0, version);
    }

    fn remove(&mut self, key: &str, id: VersionId) -> Option<Version> {
        let versions = self.keys.get_mut(key)?;
        let at = versions.iter().position(|version| version.id == id)?;
        let removed = versions.remove(at);
        if versions.is_empty() {
            self.keys.remove(key);
        }
        Some(removed)
    }

    fn visible(&self) -> BTreeSet<String> {
        self.keys.keys().filter(|key| self.current(key).is_some()).cloned().collect()
    }

    fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for versions in self.keys.values() {
            for (at, version) in versions.iter().enumerate() {
                match &version.object {
                    None => usage.markers += 1,
                    Some((body, _)) => {
                        usage.bytes += body.len() as u64;
                        *(if at == 0 { &mut usage.objects } else { &mut usage.noncurrent }) += 1;
                    }
                }
            }
        }
        usage
    }

    /// Key or prefix, version, latest, length.
    fn lines(&self, prefix: &str, delimiter: Option<&str>) -> Vec<VersionLine> {
        let mut lines: Vec<VersionLine> = Vec::new();
        for (key, versions) in self.keys.iter().filter(|(key, _)| key.starts_with(prefix)) {
            if let Some(common) = common(prefix, delimiter, key) {
                if lines.last().is_none_or(|last| last.0 != Line::Prefix(common.clone())) {
                    lines.push((Line::Prefix(common), None));
                }
                continue;
            }
            for (at, version) in versions.iter().enumerate() {
                let len = version.object.as_ref().map(|(body, _)| body.len() as u64);
                lines.push((Line::Key(key.clone()), Some((version.id, at == 0, len))));
            }
        }
        lines
    }
}

type VersionLine = (Line, Option<(VersionId, bool, Option<u64>)>);

async fn versions_paged(here: &Here, mut request: VersionListRequest) -> Vec<VersionLine> {
    let mut lines: Vec<VersionLine> = Vec::new();
    for _ in 0..10_000 {
        let page = here.store.list_versions(&here.who, request.clone()).await.unwrap();
        let mut entries = page.entries.into_iter().peekable();
        let mut prefixes = page.common_prefixes.into_iter().peekable();
        loop {
            let entry_first = match (entries.peek(), prefixes.peek()) {
                (Some(entry), Some(prefix)) => entry.key < *prefix,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => break,
            };
            if entry_first {
                let entry = entries.next().unwrap();
                let len = entry.object.map(|(size, _, _)| size);
                lines.push((Line::Key(entry.key), Some((entry.version_id, entry.is_latest, len))));
            } else {
                lines.push((Line::Prefix(prefixes.next().unwrap()), None));
            }
        }
        let Some((key_marker, version_marker)) = page.next else { return lines };
        request.key_marker = Some(key_marker);
        request.version_marker = version_marker;
    }
    panic!("the listing does not end");
}

struct Run {
    rng: Rng,
    machine: Machine,
    buckets: Vec<(Here, Model)>,
}

impl Run {
    async fn new(seed: u64) -> Self {
        let machine = Machine::new();
        let store = machine.open().await;
        let plain = Here::new(store.clone(), "plain").await;
        let versioned = Here::new(store, "versioned").await;
        let buckets = vec![(plain, Model::default()), (versioned, Model::default())];
        Self { rng: Rng::new(seed), machine, buckets }
    }

    fn pick_key(&mut self) -> &'static str {
        KEYS[self.rng.below(KEYS.len() as u64) as usize]
    }

    fn pick_bucket(&mut self) -> usize {
        self.rng.below(2) as usize
    }

    fn body(&mut self) -> Vec<u8> {
        let len = if self.rng.one_in(30) { 66_000 + self.rng.below(90_000) } else { self.rng.below(200) };
        self.rng.bytes(len as usize)
    }

    fn conditions(&mut self, bucket: usize, key: &str) -> WriteConditions {
        let current = self.buckets[bucket].1.current(key).map(|(_, etag)| *etag);
        let tag = current.filter(|_| !self.rng.one_in(3)).unwrap_or(Etag::Md5([1; 16]));
        match self.rng.below(8) {
            0 => WriteConditions::absent(),
            1 => WriteConditions::matches(tag),
            2 => WriteConditions { if_match: Some(EtagMatch::Any), ..WriteConditions::default() },
            3 => WriteConditions {
                if_none_match: Some(EtagMatch::OneOf(vec![tag])),
                ..WriteConditions::default()
            },
            _ => WriteConditions::default(),
        }
    }

    /// A version of the key, or an id that is not there.
    fn pick_version(&mut self, bucket: usize, key: &str) -> VersionId {
        let versions = self.buckets[bucket].1.keys.get(key).cloned().unwrap_or_default();
        match versions.get(self.rng.below(versions.len() as u64 + 1) as usize) {
            Some(version) => version.id,
            None if self.rng.one_in(2) => VersionId::Null,
            None => VersionId::Seq(gw_types::VersionSeq(7)),
        }
    }

    fn settle(
        &mut self,
        bucket: usize,
        at: &str,
        body: Vec<u8>,
        expected: Option<StoreErrorKind>,
        result: StoreResult<PutOutcome>,
    ) {
        match (result, expected) {
            (Ok(outcome), None) => self.buckets[bucket].1.put(at, body, &outcome),
            (Err(error), Some(expected)) => assert_eq!(error.kind(), expected, "{at:?}"),
            (result, expected) => panic!("{at:?}: {result:?}, but {expected:?}"),
        }
    }

    async fn put(&mut self) {
        let (bucket, at, body) = (self.pick_bucket(), self.pick_key(), self.body());
        let conditions = self.conditions(bucket, at);
        let expected = self.buckets[bucket].1.check(at, &conditions);
        let here = self.buckets[bucket].0.clone();
        let result = here.put_if(at, &body, conditions).await;
        self.settle(bucket, at, body, expected, result);
    }

    async fn copy(&mut self) {
        let (from, to) = (self.pick_bucket(), self.pick_bucket());
        let (source_key, at) = (self.pick_key(), self.pick_key());
        let version = self.rng.one_in(2).then(|| self.pick_version(from, source_key));
        let versions = self.buckets[from].1.keys.get(source_key).cloned().unwrap_or_default();
        let found = match version {
            None => versions.first(),
            Some(id) => versions.iter().find(|version| version.id == id),
        };
        let source = CopySource {
            bucket: self.buckets[from].0.bucket.clone(),
            key: key(source_key),
            version,
            conditions: ReadConditions::default(),
            customer_key: None,
        };
        let conditions = self.conditions(to, at);
        let (body, expected) = match (found.and_then(|found| found.object.clone()), version) {
            (Some((body, _)), _) => (body, self.buckets[to].1.check(at, &conditions)),
            (None, None) => (Vec::new(), Some(StoreErrorKind::NoSuchKey)),
            (None, Some(_)) if found.is_some() => (Vec::new(), Some(StoreErrorKind::IsDeleteMarker)),
            (None, Some(_)) => (Vec::new(), Some(StoreErrorKind::NoSuchVersion)),
        };
        let options = CopyOptions { conditions, ..CopyOptions::default() };
        let here = self.buckets[to].0.clone();
        let result = here.store.copy(&here.who, source, &here.bucket, &key(at), options).await;
        self.settle(to, at, body, expected, result.map(|outcome| outcome.put));
    }

    async fn upload(&mut self) {
        let (bucket, at) = (self.pick_bucket(), self.pick_key());
        let here = self.buckets[bucket].0.clone();
        let (store, who, name) = (&here.store, &here.who, &here.bucket);
        let object = key(at);
        let upload =
            store.upload_create(who, name, &object, UploadOptions::default()).await.unwrap().upload_id;
        let (mut body, mut parts) = (Vec::new(), Vec::new());
        for number in 1..=1 + self.rng.below(3) as u16 {
            let number = PartNumber::new(number * 3).unwrap();
            let mut part = vec![number.get() as u8; 16];
            part.extend(self.body());
            let mut writer =
                store.upload_put_part(who, name, &object, upload, number, None, None).await.unwrap();
            writer.write(Bytes::from(part.clone())).await.unwrap();
            let etag = writer.finish(FinishOptions::default()).await.unwrap().etag;
            if !self.rng.one_in(4) || parts.is_empty() {
                body.extend(part);
                parts.push(CompletePart { number, etag: Some(etag), checksums: Vec::new() });
            }
        }
        if self.rng.one_in(4) {
            store.upload_abort(who, name, &object, upload).await.unwrap();
            return;
        }
        let conditions = self.conditions(bucket, at);
        let expected = self.buckets[bucket].1.check(at, &conditions);
        let options = CompleteOptions { conditions, ..CompleteOptions::default() };
        let result = store.upload_complete(who, name, &object, upload, parts, options).await;
        if result.is_err() {
            store.upload_abort(who, name, &object, upload).await.unwrap();
        }
        self.settle(bucket, at, body, expected, result);
    }

    async fn delete(&mut self) {
        let (bucket, at) = (self.pick_bucket(), self.pick_key());
        let conditions = if self.rng.one_in(4) { self.conditions(bucket, at) } else { Default::default() };
        let (here, model) = &mut self.buckets[bucket];
        let expected = model.check(at, &conditions);
        let target = DeleteTarget { key: key(at), version: None, conditions, bypass_governance: false };
        let result = here.store.delete(&here.who, &here.bucket, target, None).await;
        if let Some(expected) = expected {
            assert_eq!(kind(result), expected);
            return;
        }
        let outcome = result.unwrap();
        assert_eq!(outcome.delete_marker, model.versioning != Versioning::Off);
        if model.versioning == Versioning::Off {
            model.keys.remove(at);
        } else {
            let id = outcome.version_id.unwrap();
            assert_eq!(id == VersionId::Null, model.versioning == Versioning::Suspended);
            model.push(at, Version { id, object: None });
        }
    }

    async fn delete_version(&mut self) {
        let (bucket, at) = (self.pick_bucket(), self.pick_key());
        let id = self.pick_version(bucket, at);
        let (here, model) = &mut self.buckets[bucket];
        let outcome = here.delete_version(at, Some(id)).await.unwrap();
        let removed = model.remove(at, id);
        assert_eq!(outcome.delete_marker, removed.is_some_and(|removed| removed.object.is_none()));
    }

    async fn read(&mut self) {
        let (bucket, at) = (self.pick_bucket(), self.pick_key());
        let id = self.rng.one_in(2).then(|| self.pick_version(bucket, at));
        let (here, model) = &self.buckets[bucket];
        let versions = model.keys.get(at).cloned().unwrap_or_default();
        let found = match id {
            None => versions.first(),
            Some(id) => versions.iter().find(|version| version.id == id),
        };
        let result = here.get_version(at, id).await;
        match (found.map(|found| &found.object), id) {
            (Some(Some((body, etag))), _) => {
                assert_eq!(&result.unwrap(), body, "{at:?}");
                let options = gw_store::ReadOptions { version: id, ..Default::default() };
                let read = here.store.get(&here.who, &here.bucket, &key(at), options).await.unwrap();
                assert_eq!(read.info().etag, *etag);
                let suffix = self.rng.below(300);
                if suffix > 0 && !body.is_empty() {
                    let tail = read.body(ByteRange::Suffix(suffix)).unwrap();
                    let from = body.len().saturating_sub(suffix as usize);
                    assert_eq!(crate::support::collect(tail).await.unwrap(), &body[from..]);
                }
            }
            (Some(None), Some(_)) => assert_eq!(kind(result), StoreErrorKind::IsDeleteMarker),
            (None, Some(_)) => assert_eq!(kind(result), StoreErrorKind::NoSuchVersion),
            (_, None) => assert_eq!(kind(result), StoreErrorKind::NoSuchKey),
        }
    }

    async fn list(&mut self) {
        let bucket = self.pick_bucket();
        let cut = self.pick_key();
        let prefix = if self.rng.one_in(2) { "" } else { &cut[..1] };
        let delimiter = [None, Some("/"), Some("b"), Some("//")][self.rng.below(4) as usize];
        let max = 1 + self.rng.below(5) as usize;
        let (here, model) = &self.buckets[bucket];
        let request = ListRequest {
            bucket: here.bucket.clone(),
            prefix: prefix.to_owned(),
            delimiter: delimiter.map(str::to_owned),
            start: ListStart::Beginning,
            max,
        };
        let mut wanted = Vec::new();
        for key in model.visible().into_iter().filter(|key| key.starts_with(prefix)) {
            let line = common(prefix, delimiter, &key).map_or(Line::Key(key), Line::Prefix);
            if wanted.last() != Some(&line) {
                wanted.push(line);
            }
        }
        assert_eq!(list_all(&here.store, &here.who, request, false).await, wanted);
        let request = VersionListRequest {
            prefix: prefix.to_owned(),
            delimiter: delimiter.map(str::to_owned),
            max,
            ..VersionListRequest::new(here.bucket.clone())
        };
        let found = versions_paged(here, request).await;
        assert_eq!(found, model.lines(prefix, delimiter), "{prefix:?} {delimiter:?} {max}");
        assert_eq!(here.usage().await, model.usage());
    }

    async fn settings(&mut self) {
        let versioning = if self.rng.one_in(2) { Versioning::Enabled } else { Versioning::Suspended };
        let (here, model) = &mut self.buckets[1];
        here.versioning(versioning).await;
        model.versioning = versioning;
    }

    async fn restart(&mut self) {
        self.buckets[0].0.store.close().await.unwrap();
        let store = self.machine.open().await;
        for (here, _) in &mut self.buckets {
            here.store = store.clone();
        }
    }

    async fn step(&mut self) {
        match self.rng.below(100) {
            0..30 => self.put().await,
            30..42 => self.copy().await,
            42..48 => self.upload().await,
            48..62 => self.delete().await,
            62..72 => self.delete_version().await,
            72..90 => self.read().await,
            90..97 => self.list().await,
            97..98 => self.settings().await,
            98 if self.rng.one_in(3) => self.machine.compact_all().await,
            _ if self.rng.one_in(5) => self.restart().await,
            _ => {}
        }
    }

    /// Everything goes; then nothing may be left anywhere.
    async fn empty(self) {
        for (here, model) in &self.buckets {
            for (at, versions) in &model.keys {
                for version in versions {
                    here.delete_version(at, Some(version.id)).await.unwrap();
                }
            }
            assert_eq!(here.usage().await, Usage::default());
            here.store.bucket_delete(&here.who, &here.bucket).await.unwrap();
            assert_eq!(
                kind(here.store.bucket_head(&here.who, &name("plain")).await),
                StoreErrorKind::NoSuchBucket
            );
        }
        assert_eq!((self.machine.live_bytes(), self.machine.rows_left()), (0, 0));
    }
}

#[tokio::test]
async fn the_store_does_what_the_model_does() {
    for seed in 0..8 {
        let mut run = Run::new(seed).await;
        for _ in 0..500 {
            run.step().await;
        }
        run.empty().await;
    }
}
