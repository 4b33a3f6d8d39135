//! Users, groups, roles and sessions: what their policies let them do.

use std::sync::Arc;

use gw_store::{
    AccountSettings, AssumeRole, BucketOptions, IamChange, IamKind, IamListRequest, IamRead, IamSpec,
    IamWhat, KeyLimits, Quota, Store, StoreErrorKind, TemporaryCredential, UserSpec,
};
use gw_types::{Action, Actor, Authenticated, Frontend};

use crate::assemble::Machine;
use crate::support::{Here, admin, key, kind, name, user};

const DENIED: StoreErrorKind = StoreErrorKind::AccessDenied;
const ABSENT: StoreErrorKind = StoreErrorKind::NoSuchUser;

async fn account(store: &Store, name: &str) -> Authenticated {
    let spec = UserSpec { name: name.to_owned(), admin: false, access_key: None, secret: None };
    store.user_add(&admin(), spec).await.unwrap();
    user(name)
}

fn spec(name: &str, what: IamWhat) -> IamSpec {
    IamSpec { name: name.to_owned(), path: None, description: String::new(), tags: Vec::new(), what }
}

fn document(effect: &str, action: &str, resource: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"{effect}","Action":"{action}","Resource":"{resource}"}}]}}"#
    )
}

fn trust(principal: &str, more: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{{"AWS":"{principal}"}}{more}}}]}}"#
    )
}

fn inline(name: &str, document: String) -> IamChange {
    IamChange::PutPolicy { name: name.to_owned(), document }
}

/// The account ann with the bucket `of-ann` and the user bob, and the account eve.
struct World {
    store: Store,
    ann: Authenticated,
    bob: Authenticated,
    eve: Authenticated,
}

impl World {
    async fn new() -> Self {
        let store = Machine::new().open().await;
        let ann = account(&store, "ann").await;
        let eve = account(&store, "eve").await;
        store.bucket_create(&ann, &name("of-ann"), BucketOptions::default()).await.unwrap();
        store.iam_create(&ann, spec("bob", IamWhat::User)).await.unwrap();
        let bob = user("ann").acting_as(Actor::User("bob".into()));
        Self { store, ann, bob, eve }
    }
    fn may(&self, who: &Authenticated, action: Action) -> bool {
        self.store.authorize(who, action, Some(&name("of-ann")), Some(&key("k"))).is_ok()
    }
    async fn change(&self, entity: (IamKind, &str), change: IamChange) {
        self.store.iam_change(&self.ann, entity, &change).await.unwrap();
    }
    async fn policy(&self, text: &str) {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":[{text}]}}"#);
        self.store.bucket_policy_set(&self.ann, &name("of-ann"), Some(text.into())).await.unwrap();
    }
    /// Makes the role `backup` of ann that trusts so, and may read.
    async fn role(&self, trust: String) {
        let what = IamWhat::Role { trust, session_seconds_max: 7200 };
        self.store.iam_create(&self.ann, spec("backup", what)).await.unwrap();
        self.change((IamKind::Role, "backup"), inline("p", document("Allow", "s3:*", "*"))).await;
    }
    async fn opened(&self, made: &TemporaryCredential) -> Authenticated {
        let credential = self.store.session(&made.access_key, &made.token).await.unwrap();
        assert_eq!(credential.secret.expose(), made.secret.expose());
        credential.principal(Frontend::S3)
    }
}

fn assume() -> AssumeRole {
    AssumeRole {
        role_arn: "arn:aws:iam::ann:role/backup".to_owned(),
        session_name: "nightly".to_owned(),
        seconds: None,
        policy: None,
        policy_arns: Vec::new(),
        external_id: None,
    }
}

#[tokio::test]
async fn a_user_may_what_its_policies_its_groups_and_managed_policies_say() {
    let world = World::new().await;
    let bob = (IamKind::User, "bob");
    assert!(world.may(&world.ann, Action::GetObject) && !world.may(&world.bob, Action::GetObject));
    world.change(bob, inline("read", document("Allow", "s3:GetObject", "arn:aws:s3:::of-ann/*"))).await;
    assert!(world.may(&world.bob, Action::GetObject) && !world.may(&world.bob, Action::PutObject));

    world.store.iam_create(&world.ann, spec("Writers", IamWhat::Group)).await.unwrap();
    let write = document("Allow", "s3:PutObject", "arn:aws:s3:::of-ann/*");
    world.change((IamKind::Group, "writers"), inline("write", write)).await;
    world.change(bob, IamChange::Join { group: "writers".to_owned() }).await;
    assert!(world.may(&world.bob, Action::PutObject) && !world.may(&world.bob, Action::DeleteObject));

    let everything = "arn:aws:iam::aws:policy/AmazonS3FullAccess".to_owned();
    world.change(bob, IamChange::Attach { policy: everything.clone() }).await;
    assert!(world.may(&world.bob, Action::DeleteObject));
    world.change((IamKind::Group, "writers"), inline("no", document("Deny", "s3:DeleteObject", "*"))).await;
    assert!(!world.may(&world.bob, Action::DeleteObject), "a Deny wins over every Allow");
    assert!(world.may(&world.ann, Action::DeleteObject), "the account is not bound by its group");

    world.change(bob, IamChange::Detach { policy: everything }).await;
    world.change(bob, IamChange::Leave { group: "Writers".to_owned() }).await;
    world.change(bob, IamChange::DeletePolicy { name: "read".to_owned() }).await;
    assert!(!world.may(&world.bob, Action::GetObject) && !world.may(&world.bob, Action::PutObject));
    assert!(!world.may(&user("ann").acting_as(Actor::User("ghost".into())), Action::GetObject));
}

#[tokio::test]
async fn what_a_user_makes_is_the_accounts() {
    let world = World::new().await;
    let (store, bob) = (&world.store, &world.bob);
    let made = store.bucket_create(bob, &name("new"), BucketOptions::default()).await;
    assert_eq!(kind(made), DENIED);
    let make = document("Allow", "s3:CreateBucket", "arn:aws:s3:::new*");
    world.change((IamKind::User, "bob"), inline("make", make)).await;
    assert_eq!(store.bucket_create(bob, &name("new"), BucketOptions::default()).await.unwrap().owner, "ann");
    assert_eq!(kind(store.bucket_create(bob, &name("other"), BucketOptions::default()).await), DENIED);
    assert!(store.authorize(bob, Action::ListBuckets, None, None).is_err());
    let list = document("Allow", "s3:ListAllMyBuckets", "arn:aws:s3:::*");
    world.change((IamKind::User, "bob"), inline("list", list)).await;
    assert!(store.authorize(bob, Action::ListBuckets, None, None).is_ok());
    assert_eq!(kind(store.status(bob).await), DENIED);
}

#[tokio::test]
async fn bucket_policies_give_to_users_of_their_account_and_only_open_the_door_to_others() {
    let world = World::new().await;
    let allow = |who: &str| {
        format!(
            r#"{{"Effect":"Allow","Principal":{{"AWS":"{who}"}},"Action":"s3:GetObject","Resource":"arn:aws:s3:::of-ann/*"}}"#
        )
    };
    world.policy(&allow("arn:aws:iam::ann:root")).await;
    assert!(!world.may(&world.bob, Action::GetObject), "the account decides for its users");
    world.policy(&allow("arn:aws:iam::ann:user/bob")).await;
    assert!(world.may(&world.bob, Action::GetObject) && !world.may(&world.bob, Action::PutObject));

    world.store.iam_create(&world.eve, spec("mallory", IamWhat::User)).await.unwrap();
    let mallory = user("eve").acting_as(Actor::User("mallory".into()));
    for open in ["arn:aws:iam::eve:user/mallory", "arn:aws:iam::eve:root", "eve"] {
        world.policy(&allow(open)).await;
        assert!(!world.may(&mallory, Action::GetObject), "{open} alone is not enough");
    }
    let all = inline("all", document("Allow", "s3:*", "*"));
    world.store.iam_change(&world.eve, (IamKind::User, "mallory"), &all).await.unwrap();
    assert!(world.may(&mallory, Action::GetObject) && !world.may(&mallory, Action::PutObject));
    world.store.bucket_policy_set(&world.ann, &name("of-ann"), None).await.unwrap();
    assert!(!world.may(&mallory, Action::GetObject), "nor are its own policies");
    let deny =
        r#"{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::ann:user/bob"},"Action":"s3:*","Resource":"*"}"#;
    world.policy(deny).await;
    world.change((IamKind::User, "bob"), inline("all", document("Allow", "s3:*", "*"))).await;
    assert!(!world.may(&world.bob, Action::GetObject));
    assert!(world.may(&world.bob, Action::CreateBucket));
}

#[tokio::test]
async fn a_role_is_assumed_by_whom_it_trusts_and_bounded_by_its_session() {
    let world = World::new().await;
    let store = &world.store;
    world.role(trust("arn:aws:iam::ann:user/bob", "")).await;
    assert_eq!(kind(store.session_assume(&world.eve, &assume()).await), DENIED);
    assert_eq!(kind(store.session_assume(&world.ann, &assume()).await), DENIED);
    let made = store.session_assume(&world.bob, &assume()).await.unwrap();
    assert!(made.access_key.starts_with("ASIA") && made.user_id.starts_with("AROA"));
    assert_eq!(made.arn, "arn:aws:sts::ann:assumed-role/backup/nightly");
    let session = world.opened(&made).await;
    assert_eq!(session.label().as_deref(), Some("ann/backup/nightly"));
    assert_eq!(store.identity(&session).await.unwrap().arn, made.arn);
    assert!(world.may(&session, Action::GetObject) && world.may(&session, Action::PutObject));

    let read = Some(document("Allow", "s3:GetObject", "*"));
    let bounded = store.session_assume(&world.bob, &AssumeRole { policy: read, ..assume() }).await.unwrap();
    let bounded = world.opened(&bounded).await;
    assert!(world.may(&bounded, Action::GetObject) && !world.may(&bounded, Action::PutObject));

    for (seconds, fits) in [(899, false), (900, true), (7200, true), (7201, false)] {
        let asked = AssumeRole { seconds: Some(seconds), ..assume() };
        assert_eq!(store.session_assume(&world.bob, &asked).await.is_ok(), fits, "{seconds}");
    }
    let other = AssumeRole { role_arn: "arn:aws:iam::ann:role/other".to_owned(), ..assume() };
    assert_eq!(kind(store.session_assume(&world.bob, &other).await), DENIED);

    // A token is good for its own key only, and ends with its role.
    assert_eq!(kind(store.session("ASIAOTHER", &made.token).await), StoreErrorKind::InvalidToken);
    assert_eq!(kind(store.session(&made.access_key, "AAAA").await), StoreErrorKind::InvalidToken);
    world.change((IamKind::Role, "backup"), IamChange::RevokeSessions).await;
    assert_eq!(kind(store.session(&made.access_key, &made.token).await), StoreErrorKind::ExpiredToken);
    let made = store.session_assume(&world.bob, &assume()).await.unwrap();
    world.change((IamKind::Role, "backup"), IamChange::DeletePolicy { name: "p".to_owned() }).await;
    store.iam_delete(&world.ann, (IamKind::Role, "backup")).await.unwrap();
    assert_eq!(kind(store.session(&made.access_key, &made.token).await), StoreErrorKind::InvalidToken);
    world.role(trust("arn:aws:iam::ann:user/bob", "")).await;
    assert_eq!(kind(store.session(&made.access_key, &made.token).await), StoreErrorKind::InvalidToken);
}

#[tokio::test]
async fn a_role_in_another_account_needs_both_sides() {
    let world = World::new().await;
    let store = &world.store;
    let external = r#","Condition":{"StringEquals":{"sts:ExternalId":"42"}}"#;
    world.role(trust("arn:aws:iam::eve:root", external)).await;
    let with_id = AssumeRole { external_id: Some("42".to_owned()), ..assume() };
    assert_eq!(kind(store.session_assume(&world.eve, &assume()).await), DENIED);
    assert!(store.session_assume(&world.eve, &with_id).await.is_ok());
    store.iam_create(&world.eve, spec("mallory", IamWhat::User)).await.unwrap();
    let mallory = user("eve").acting_as(Actor::User("mallory".into()));
    assert_eq!(kind(store.session_assume(&mallory, &with_id).await), DENIED);
    let go = inline("go", document("Allow", "sts:AssumeRole", "arn:aws:iam::ann:role/backup"));
    store.iam_change(&world.eve, (IamKind::User, "mallory"), &go).await.unwrap();
    let session = world.opened(&store.session_assume(&mallory, &with_id).await.unwrap()).await;
    assert!(world.may(&session, Action::GetObject), "the session is ann's");
}

#[tokio::test]
async fn a_session_token_may_what_its_user_may_but_nothing_of_iam_and_ends_with_its_key() {
    let world = World::new().await;
    let store = &world.store;
    world.change((IamKind::User, "bob"), inline("all", document("Allow", "*", "*"))).await;
    let (made, _) = store.access_key_create(&world.ann, Some("bob")).await.unwrap();
    let credential = store.credential(&made.access_key).await.unwrap().unwrap();
    assert_eq!(credential.principal(Frontend::S3), world.bob);
    let token = store.session_token(&world.bob, &made.access_key, Some(900)).await.unwrap();
    let session = world.opened(&token).await;
    assert!(world.may(&session, Action::GetObject));
    assert_eq!(kind(store.iam_get(&session, (IamKind::User, "bob"), IamRead::Entity).await), DENIED);
    assert!(store.iam_get(&world.bob, (IamKind::User, "bob"), IamRead::Entity).await.is_ok());
    assert_eq!(kind(store.session_token(&session, &token.access_key, None).await), DENIED);

    store.access_key_set(&world.ann, (Some("bob"), &made.access_key), false).await.unwrap();
    assert!(store.credential(&made.access_key).await.unwrap().is_none());
    let ended = store.session(&token.access_key, &token.token).await;
    assert_eq!(kind(ended), StoreErrorKind::InvalidToken);
}

#[tokio::test]
async fn sessions_end_by_their_time_and_survive_a_restart() {
    let machine = Machine::new();
    let store = machine.open().await;
    let ann = account(&store, "ann").await;
    let access_key = store.access_keys(&ann, None).await.unwrap()[0].access_key.clone();
    let token = store.session_token(&ann, &access_key, Some(900)).await.unwrap();
    store.close().await.unwrap();
    for file in machine.files() {
        let secret = token.secret.expose().as_bytes();
        assert!(!file.windows(secret.len()).any(|window| window == secret));
    }
    let store = machine.open().await;
    assert!(store.session(&token.access_key, &token.token).await.is_ok());
    machine.clock.advance(std::time::Duration::from_secs(901));
    let ended = store.session(&token.access_key, &token.token).await;
    assert_eq!(kind(ended), StoreErrorKind::ExpiredToken);
}

#[tokio::test]
async fn entities_are_listed_in_pages_and_go_only_when_nothing_hangs_on_them() {
    let world = World::new().await;
    let (store, ann) = (&world.store, &world.ann);
    for (named, path) in [("aa", "/w/"), ("Ab", "/x/"), ("ac", "/w/y/")] {
        let spec = IamSpec { path: Some(path.to_owned()), ..spec(named, IamWhat::User) };
        assert_eq!(
            store.iam_create(ann, spec).await.unwrap().arn("ann"),
            format!("arn:aws:iam::ann:user{path}{named}")
        );
    }
    let list = async |path: &str, max: usize| {
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let request = IamListRequest { path_prefix: path.to_owned(), after, max };
            let page = store.iam_list(ann, IamKind::User, &request).await.unwrap();
            assert!(page.entities.len() <= max);
            names.extend(page.entities.into_iter().map(|entity| entity.name));
            after = page.next;
            if after.is_none() {
                return names;
            }
        }
    };
    assert_eq!(list("", 1).await, ["aa", "Ab", "ac", "bob"]);
    assert_eq!(list("/w/", 1).await, ["aa", "ac"]);
    assert_eq!(kind(store.iam_create(ann, spec("AA", IamWhat::User)).await), StoreErrorKind::UserExists);
    assert_eq!(
        kind(store.iam_create(ann, spec("a b", IamWhat::User)).await),
        StoreErrorKind::InvalidArgument
    );
    assert_eq!(kind(store.iam_create(&world.bob, spec("x", IamWhat::User)).await), DENIED);
    assert_eq!(kind(store.iam_get(&world.eve, (IamKind::User, "aa"), IamRead::Entity).await), ABSENT);

    let rename = IamChange::Rename { name: Some("robert".to_owned()), path: None };
    let (made, _) = store.access_key_create(ann, Some("bob")).await.unwrap();
    store.iam_create(ann, spec("team", IamWhat::Group)).await.unwrap();
    world.change((IamKind::User, "bob"), IamChange::Join { group: "team".to_owned() }).await;
    world.change((IamKind::User, "bob"), rename).await;
    let credential = store.credential(&made.access_key).await.unwrap().unwrap();
    assert_eq!(credential.actor, Actor::User("robert".into()));
    let rename = IamChange::Rename { name: Some("crew".to_owned()), path: None };
    world.change((IamKind::Group, "team"), rename).await;
    assert_eq!(store.iam_members(ann, "crew").await.unwrap()[0].name, "robert");

    let robert = (IamKind::User, "robert");
    let conflict = StoreErrorKind::DeleteConflict;
    assert_eq!(kind(store.iam_delete(ann, robert).await), conflict);
    assert_eq!(kind(store.iam_delete(ann, (IamKind::Group, "crew")).await), conflict);
    world.change(robert, IamChange::Leave { group: "crew".to_owned() }).await;
    store.iam_delete(ann, (IamKind::Group, "crew")).await.unwrap();
    store.access_key_delete(ann, (Some("robert"), &made.access_key)).await.unwrap();
    store.iam_delete(ann, robert).await.unwrap();
    assert_eq!(kind(store.iam_delete(ann, robert).await), ABSENT);
}

#[tokio::test]
async fn managed_policies_have_versions_and_stay_while_they_are_attached() {
    let world = World::new().await;
    let (store, ann) = (&world.store, &world.ann);
    let what = IamWhat::Policy { document: document("Allow", "s3:GetObject", "*") };
    let policy = store.iam_create(ann, spec("reader", what)).await.unwrap();
    let reader = (IamKind::Policy, "reader");
    world.change((IamKind::User, "bob"), IamChange::Attach { policy: policy.arn("ann") }).await;
    assert!(world.may(&world.bob, Action::GetObject) && !world.may(&world.bob, Action::PutObject));
    let more = document("Allow", "s3:*", "*");
    world.change(reader, IamChange::NewVersion { document: more.clone(), default: true }).await;
    assert!(world.may(&world.bob, Action::PutObject));
    world.change(reader, IamChange::DefaultVersion(1)).await;
    assert!(!world.may(&world.bob, Action::PutObject));
    let conflict = StoreErrorKind::DeleteConflict;
    assert_eq!(kind(store.iam_change(ann, reader, &IamChange::DeleteVersion(1)).await), conflict);
    world.change(reader, IamChange::DeleteVersion(2)).await;
    for _ in 0..4 {
        world.change(reader, IamChange::NewVersion { document: more.clone(), default: false }).await;
    }
    let sixth = IamChange::NewVersion { document: more, default: false };
    assert_eq!(kind(store.iam_change(ann, reader, &sixth).await), StoreErrorKind::LimitExceeded);
    assert_eq!(kind(store.iam_delete(ann, reader).await), conflict);
    let bad = inline("p", r#"{"Version":"2010-10-17","Statement":[]}"#.to_owned());
    let refused = store.iam_change(ann, (IamKind::User, "bob"), &bad).await;
    assert_eq!(kind(refused), StoreErrorKind::MalformedPolicy);
    let long = inline("p", document("Allow", &format!("s3:{}", "x".repeat(2048)), "*"));
    let refused = store.iam_change(ann, (IamKind::User, "bob"), &long).await;
    assert_eq!(kind(refused), StoreErrorKind::LimitExceeded);
}

#[tokio::test]
async fn a_user_has_two_keys_and_an_account_that_goes_takes_them_with_it() {
    let world = World::new().await;
    let (store, ann) = (&world.store, &world.ann);
    let (first, info) = store.access_key_create(ann, Some("bob")).await.unwrap();
    assert!(info.active && first.access_key.starts_with("AKIA"));
    // The second is made by bob for himself.
    world
        .change(
            (IamKind::User, "bob"),
            inline("own", document("Allow", "iam:*AccessKey*", "arn:aws:iam::ann:user/bob")),
        )
        .await;
    store.access_key_create(&world.bob, None).await.unwrap();
    assert_eq!(kind(store.access_key_create(ann, Some("bob")).await), StoreErrorKind::LimitExceeded);
    assert_eq!(store.access_keys(&world.bob, None).await.unwrap().len(), 2);
    assert_eq!(kind(store.access_keys(&world.bob, Some("eve")).await), DENIED);

    assert_eq!(store.access_key_last_used(ann, &first.access_key).await.unwrap(), ("bob".to_owned(), None));
    store.access_key_used(&first.access_key, "s3", "cess-1").unwrap();
    let (_, used) = store.access_key_last_used(ann, &first.access_key).await.unwrap();
    assert_eq!(used.map(|used| used.service), Some("s3".to_owned()));
    assert_eq!(kind(store.access_key_last_used(&world.eve, &first.access_key).await), ABSENT);

    store.user_remove(&admin(), "ann").await.unwrap();
    assert!(store.credential(&first.access_key).await.unwrap().is_none());
    account(store, "ann").await;
    assert_eq!(kind(store.iam_get(ann, (IamKind::User, "bob"), IamRead::Entity).await), ABSENT);
}

#[tokio::test]
async fn quotas_of_an_account_hold_over_all_its_buckets() {
    let here = Here::new(Machine::new().open().await, "first").await;
    let store = here.store.clone();
    let ann = account(&store, "ann").await;
    let ann = |bucket: &str| Here { store: store.clone(), who: ann.clone(), bucket: name(bucket) };
    for bucket in ["one", "two"] {
        store.bucket_create(&ann(bucket).who, &name(bucket), BucketOptions::default()).await.unwrap();
    }
    ann("one").put("k", &[1; 600]).await;
    let set = |bytes_max, objects_max| AccountSettings {
        quota: Some(Quota { bytes_max, objects_max }),
        limits: Some(KeyLimits { requests_per_second: Some(3), bytes_per_second: None }),
    };
    store.user_set(&admin(), "ann", set(Some(1000), None)).await.unwrap();
    let over = ann("two").put_with("k", &[1; 401], Default::default()).await;
    assert_eq!(kind(over), StoreErrorKind::QuotaExceeded);
    ann("two").put("k", &[1; 400]).await;
    ann("one").put("k", &[1; 500]).await;
    ann("two").delete("k").await;
    store.user_set(&admin(), "ann", set(None, Some(1))).await.unwrap();
    let over = ann("two").put_with("k", b"x", Default::default()).await;
    assert_eq!(kind(over), StoreErrorKind::QuotaExceeded);
    here.put("others-are-not-asked", &[1; 5000]).await;
    let users = store.user_list(&admin()).await.unwrap();
    assert_eq!((users[0].usage.bytes, users[0].usage.objects), (500, 1));
    assert_eq!(users[0].limits.requests_per_second, Some(3));
    assert_eq!(kind(store.user_set(&user("ann"), "ann", set(None, None)).await), DENIED);
    let credential = store.credential(&users[0].access_keys[0].access_key).await.unwrap().unwrap();
    assert_eq!(Arc::clone(&credential).limits.requests_per_second, Some(3));
}
